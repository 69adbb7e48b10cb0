//! The booking service as a process of its own, which can die alone.

use std::{
    env, io,
    path::Path,
    process::{ExitStatus, Stdio},
};

use idempotency::SqliteStore;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    bookings,
    crash::{self, Crash},
};

/// One run of it, killed when this is dropped.
pub(crate) struct Service {
    process: Child,
    pub(crate) address: String,
}

impl Service {
    /// Starts this program once more, in its other role, and returns once it listens.
    pub(crate) async fn start(file: &Path, provider: &str, crash: Crash) -> io::Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .arg(file)
            .arg(provider)
            .env(crash::VARIABLE, crash.word())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().expect("it is piped");
        let first_line = BufReader::new(output).lines().next_line().await?;
        let address = first_line.ok_or_else(|| io::Error::other("the service did not start"))?;
        Ok(Self { process, address })
    }

    /// How it ended. The file of its database is free then.
    pub(crate) async fn ended(mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }
}

/// The other role: serves bookings, and writes its address as its only line.
pub(crate) async fn serve(file: &Path, provider: String) -> Result<(), Box<dyn std::error::Error>> {
    let database = bookings::open(file).await?;
    let store = SqliteStore::new(database.clone())?;
    let app = bookings::app(database, store, provider, Crash::from_environment());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
