//! A server that runs, and what it has used.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    connection::Connection,
    peer::{Bookings, Peer, Program},
    postgres::Postgres,
    request,
    tools::{self, Tools},
};

/// Where a process may run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cpus {
    /// The first, which servers have for themselves while they are measured.
    OfServers,
    /// The second, which clients and the database share.
    OfOthers,
    /// Where races are to be seen.
    All,
}

/// It is killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    /// The sessions of its callers, if it protects no others.
    pub(crate) cookies: Vec<String>,
}

/// How many callers send requests to a server with sessions: a session with all keys would be a load of its own.
const SESSIONS: usize = 200;

impl Server {
    pub(crate) async fn start(
        peer: &Peer,
        program: Program,
        cpus: Cpus,
        tools: &Tools,
        postgres: &Result<Postgres, String>,
    ) -> Result<Self, String> {
        let port = free_port();
        let command = tools.command(program, port)?;
        let mut command = on(cpus, &["--pdeathsig", "KILL"], &command);
        command.env("PORT", port.to_string());
        if let Program::Python(server) | Program::Node(server) = program {
            command.env("SERVER", server).env("NODE_ENV", "production");
        }
        if peer.bookings == Bookings::Rows {
            let database = postgres.as_ref().map_err(Clone::clone)?.new_database()?;
            command.env("DATABASE_URL", database);
        }
        let log = tools::builds().join("servers.log");
        let log = File::options().create(true).append(true).open(log);
        let log = log.map_err(|error| error.to_string())?;
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("setpriv and taskset of util-linux: {error}"))?;
        let mut server = Self {
            process,
            port,
            cookies: Vec::new(),
        };
        server.wait().await?;
        if peer.has_sessions && program == peer.program {
            for _ in 0..SESSIONS {
                let cookie = server.get("/login").await?.cookie;
                server
                    .cookies
                    .push(cookie.ok_or("a login without a cookie")?);
            }
        }
        Ok(server)
    }

    /// Frameworks have no common way to say that they listen.
    async fn wait(&mut self) -> Result<(), String> {
        for _ in 0..1_000 {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("it ended at once, {status}: see servers.log"));
            }
            if Connection::open(self.port).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("it does not listen".to_owned())
    }

    /// How often its handler has had an effect.
    pub(crate) async fn effects(&self) -> Result<u64, String> {
        let response = self.get("/effects").await?;
        let number = str::from_utf8(&response.body).ok();
        let number = number.and_then(|number| number.parse().ok());
        number.ok_or_else(|| "/effects is no number".to_owned())
    }

    async fn get(&self, path: &str) -> Result<crate::connection::Response, String> {
        let problem = |error| format!("GET {path}: {error}");
        let mut connection = Connection::open(self.port).await.map_err(problem)?;
        connection.send(&request::get(path)).await.map_err(problem)
    }

    /// For how long its threads were on a CPU.
    pub(crate) fn cpu_time(&self) -> Duration {
        let process = self.process.id();
        let threads = fs::read_dir(format!("/proc/{process}/task"));
        let threads = threads.into_iter().flatten();
        let nanoseconds = threads.filter_map(|thread| {
            // A thread may end between the two reads.
            let account = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            account.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command on these CPUs, with these options of setpriv. Its option `--pdeathsig` ends the process when this one ends in any way.
pub(crate) fn on(cpus: Cpus, options: &[&str], command: &[String]) -> Command {
    let cpus = match cpus {
        Cpus::OfServers => "0",
        Cpus::OfOthers => "1",
        Cpus::All => "0,1",
    };
    let mut confined = Command::new("setpriv");
    confined.args(options).args(["taskset", "-c", cpus]);
    confined.args(command);
    confined
}

pub(crate) fn confine_this_process() {
    let id = process::id().to_string();
    let confined = Command::new("taskset")
        .args(["-a", "-c", "-p", "1", &id])
        .stdout(Stdio::null())
        .status();
    let is_confined = confined.is_ok_and(|status| status.success());
    assert!(is_confined, "taskset of util-linux is needed");
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
