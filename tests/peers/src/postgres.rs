//! A PostgreSQL of its own, with the settings it has from the start: a commit waits for the disk.

use std::{
    cell::Cell,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::server::{Cpus, free_port, on};

/// The server is stopped, and its folder removed, when this is dropped.
pub(crate) struct Postgres {
    process: Child,
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    databases: Cell<u32>,
}

impl Postgres {
    /// # Errors
    ///
    /// If it is not installed, or does not start.
    pub(crate) fn start() -> Result<Self, String> {
        let started = Self::try_start();
        if let Err(problem) = &started {
            eprintln!("NOT STARTED: PostgreSQL: {problem}");
        }
        started
    }

    fn try_start() -> Result<Self, String> {
        let binaries = binaries().ok_or("initdb was not found")?;
        let folder = env::temp_dir().join(format!("peers-postgres-{}", process::id()));
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        // SIGINT makes PostgreSQL stop cleanly, which gives its shared memory back.
        let mut options = vec!["--pdeathsig", "INT"];
        // It refuses to run as root.
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(&folder).status();
            if !owned.is_ok_and(|status| status.success()) {
                return Err("there is no user postgres".to_owned());
            }
            options.extend([
                "--reuid",
                "postgres",
                "--regid",
                "postgres",
                "--clear-groups",
            ]);
        }
        let data = folder.join("data").to_string_lossy().into_owned();
        let command = |name: &str, arguments: &[&str]| {
            let program = binaries.join(name).to_string_lossy().into_owned();
            let arguments = arguments.iter().map(ToString::to_string);
            let command: Vec<_> = [program].into_iter().chain(arguments).collect();
            let mut command = on(Cpus::OfOthers, &options, &command);
            command
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let initdb = ["-D", &data, "-A", "trust", "-U", "postgres"];
        let made = command("initdb", &initdb).status();
        if !made.is_ok_and(|status| status.success()) {
            return Err("initdb failed".to_owned());
        }
        let port = free_port();
        let (number, socket) = (port.to_string(), folder.to_string_lossy().into_owned());
        let listens = ["-D", &data, "-p", &number, "-h", "127.0.0.1", "-k", &socket];
        let process = command("postgres", &listens)
            .spawn()
            .map_err(|error| error.to_string())?;
        let server = Self {
            process,
            binaries,
            folder,
            port,
            databases: Cell::new(0),
        };
        server.wait()?;
        Ok(server)
    }

    fn wait(&self) -> Result<(), String> {
        for _ in 0..300 {
            if self.client("pg_isready", &[]) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err("it does not listen".to_owned())
    }

    /// The URL of an empty database.
    pub(crate) fn new_database(&self) -> Result<String, String> {
        self.databases.update(|number| number + 1);
        let name = format!("bookings{}", self.databases.get());
        if !self.client("createdb", &[&name]) {
            return Err("createdb failed".to_owned());
        }
        Ok(format!(
            "postgres://postgres@127.0.0.1:{}/{name}",
            self.port
        ))
    }

    fn client(&self, program: &str, arguments: &[&str]) -> bool {
        let beside = self.binaries.join(program);
        // Debian always has the client programs on PATH.
        let program = if beside.exists() {
            &beside
        } else {
            Path::new(program)
        };
        let port = self.port.to_string();
        let status = Command::new(program)
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres"])
            .args(arguments)
            .stdout(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// On PATH, or where Debian has the newest.
fn binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let has_it = |folder: &PathBuf| folder.join("initdb").exists();
    if let Some(folder) = env::split_paths(&path).find(has_it) {
        return Some(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    folders.filter(has_it).max()
}
