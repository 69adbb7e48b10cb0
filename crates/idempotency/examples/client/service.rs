//! `core-api` as a process that dies and is started again at the same address.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

pub(crate) struct Service {
    program: PathBuf,
    folder: PathBuf,
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    _output: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
}

impl Service {
    /// Starts the program on a free port, and returns once it listens.
    pub(crate) async fn start(program: &str, folder: &Path) -> Result<Self, Box<dyn Error>> {
        // The process gets a working directory of its own.
        let program = Path::new(program).canonicalize()?;
        Self::start_at(program, folder.to_owned(), "127.0.0.1:0").await
    }

    pub(crate) async fn start_again(&mut self) -> Result<(), Box<dyn Error>> {
        let address = self.url.trim_start_matches("http://").to_owned();
        *self = Self::start_at(self.program.clone(), self.folder.clone(), &address).await?;
        Ok(())
    }

    async fn start_at(
        program: PathBuf,
        folder: PathBuf,
        address: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(&program)
            .args(["--listen", address, "--database", "sqlite:bookings.db"])
            .args(["--fault-injection", "--no-supervisor"])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().expect("it is piped");
        let log = process.stderr.take().expect("it is piped");
        let mut output = BufReader::new(output).lines();
        let ready = output.next_line().await?.unwrap_or_default();
        let mut words = ready.split_whitespace();
        let url = words.find(|word| word.starts_with("http://"));
        Ok(Self {
            url: url.ok_or("the service did not start")?.to_owned(),
            program,
            folder,
            process,
            log: BufReader::new(log).lines(),
            _output: output,
        })
    }

    /// Returns once a booking has begun, and has not ended.
    pub(crate) async fn is_booking(&mut self) -> io::Result<()> {
        while let Some(line) = self.log.next_line().await? {
            if line.contains("injected a delay") {
                return Ok(());
            }
        }
        Err(io::Error::other("the service has ended"))
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.process.kill().await
    }
}
