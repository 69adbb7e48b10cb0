//! One service as a process, which restarts on its port after each death.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command as BlockingCommand, ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How a service is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Where its standard error goes.
    pub(crate) log: PathBuf,
}

/// The service, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    start: Start,
    child: Child,
}

impl Process {
    /// Returns once it listens.
    pub(crate) async fn start(start: Start) -> Self {
        let mut child = spawn(&start);
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let listens = timeout(Duration::from_secs(60), output.lines().next_line()).await;
        match listens {
            Ok(Ok(Some(_))) => Self { start, child },
            ended => panic!("it does not start, see {:?}: {ended:?}", start.log),
        }
    }

    /// Returns once it has ended by itself, and says how.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        self.child.wait().await.expect("its state")
    }

    /// `kill -9`, and its end.
    pub(crate) async fn kill(mut self) {
        kill(&mut self.child).await;
    }

    /// `kill -9`, and a restart, perhaps with another death during it. Returns false if the service had ended by itself.
    pub(crate) async fn kill_and_start(
        &mut self,
        down: Duration,
        early_death: Option<Duration>,
    ) -> bool {
        let mut was_alive = self.is_alive();
        kill(&mut self.child).await;
        sleep(down).await;
        if let Some(alive) = early_death {
            self.child = spawn(&self.start);
            sleep(alive).await;
            was_alive &= self.is_alive();
            kill(&mut self.child).await;
        }
        *self = Self::start(self.start.clone()).await;
        was_alive
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Suspends it for a while, as its machine might be suspended.
    pub(crate) async fn freeze(&mut self, time: Duration) {
        self.signal("STOP");
        sleep(time).await;
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = BlockingCommand::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(sent.expect("kill runs").success());
    }
}

fn spawn(start: &Start) -> Child {
    let log = File::options().create(true).append(true).open(&start.log);
    Command::new(start.program)
        .args(&start.arguments)
        .envs(start.variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(log.expect("a log"))
        .kill_on_drop(true)
        .spawn()
        .expect("the service")
}

async fn kill(child: &mut Child) {
    child.kill().await.expect("it ran until now");
}
