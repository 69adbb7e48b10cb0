//! PostgreSQL, as it is installed on this machine.

mod dump;
mod tls;

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, raw_sql};

use super::{KillOnDrop, free_port, skip};

/// A server with its data in a new folder.
#[derive(Debug)]
pub struct PostgresServer {
    /// The process after a restart. It is dropped first: the other one removes the folder.
    restarted: Option<KillOnDrop>,
    _process: KillOnDrop,
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    is_durable: bool,
}

/// How many databases this process has made.
static DATABASES: AtomicU32 = AtomicU32::new(0);

impl PostgresServer {
    /// The server that all tests of this process share, each with databases of its own.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PostgresServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server that a test may break; `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    ///
    /// If it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_as(false, |_| {})
    }

    /// A server that waits for the disk before it confirms a commit.
    ///
    /// # Panics
    ///
    /// If it is installed and does not start.
    #[must_use]
    pub fn start_durable() -> Option<Self> {
        Self::start_as(true, |_| {})
    }

    fn start_as(is_durable: bool, set_up: impl FnOnce(&Path)) -> Option<Self> {
        let Some(binaries) = binaries() else {
            skip(
                "PostgreSQL",
                "initdb was not found (Debian: apt-get install postgresql)",
                false,
            );
            return None;
        };
        let folder = new_folder();
        let data = folder.join("data");
        let initialised = as_server(&binaries.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(initialised.success(), "initdb: {initialised}");
        set_up(&folder);
        Some(Self::start_in(binaries, folder, is_durable))
    }

    fn start_in(binaries: PathBuf, folder: PathBuf, is_durable: bool) -> Self {
        let port = free_port();
        let process = start(&binaries, &folder, port, is_durable, Some(&folder));
        Self {
            restarted: None,
            _process: process,
            binaries,
            folder,
            port,
            is_durable,
        }
    }

    /// A standby of this server, which can be read once it has started.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn standby(&self) -> Self {
        let folder = new_folder();
        let beside = self.binaries.join("pg_basebackup");
        // Debian always has the client programs on PATH.
        let program = if beside.exists() {
            &beside
        } else {
            Path::new("pg_basebackup")
        };
        let copied = as_server(program)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-c", "fast", "--no-sync", "-R", "-D"])
            .arg(folder.join("data"))
            .status()
            .expect("pg_basebackup runs");
        assert!(copied.success(), "pg_basebackup: {copied}");
        Self::start_in(self.binaries.clone(), folder, self.is_durable)
    }

    /// The URL on this server of a database that a URL of another server names.
    ///
    /// # Panics
    ///
    /// If that is not the URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().expect("a name");
        format!("{}/{name}", self.address())
    }

    /// The URL of a new, empty database.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let create = format!("create database {name}");
        raw_sql(AssertSqlSafe(create))
            .execute(&mut self.connect().await)
            .await
            .expect("a database");
        format!("{}/{name}", self.address())
    }

    /// A connection of the superuser, once the server accepts connections.
    ///
    /// # Panics
    ///
    /// If it does not accept any within half a minute.
    pub async fn connect(&self) -> PgConnection {
        let url = format!("{}/postgres", self.address());
        for _ in 0..1500 {
            if let Ok(connection) = PgConnection::connect(&url).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        panic!("PostgreSQL does not start: {log}");
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops at once, like a crash: every connection is cut, and nothing is written any more.
    ///
    /// # Panics
    ///
    /// If it cannot be stopped.
    pub fn stop(&self) {
        let stopped = as_server(&self.binaries.join("pg_ctl"))
            .args(["stop", "-s", "-w", "-m", "immediate", "-D"])
            .arg(self.folder.join("data"))
            .status()
            .expect("pg_ctl runs");
        assert!(stopped.success(), "pg_ctl: {stopped}");
    }

    /// Starts again, on the same port and with the same data.
    pub fn restart(&mut self) {
        let (port, is_durable) = (self.port, self.is_durable);
        self.restarted = Some(start(&self.binaries, &self.folder, port, is_durable, None));
    }

    /// Sends a signal to the server and all its processes. `STOP` stops it without closing connections.
    ///
    /// # Panics
    ///
    /// If the processes cannot be found.
    pub fn signal(&self, signal: &str) {
        let file = self.folder.join("data/postmaster.pid");
        let file = fs::read_to_string(file).expect("a running server");
        let postmaster = file.lines().next().expect("its process").to_owned();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = fs::read_to_string(children).expect("its children");
        // A child may have ended meanwhile, which does not matter.
        let kill =
            format!("kill -{signal} {postmaster}; kill -{signal} {children} 2>/dev/null; true");
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell runs").success());
    }

    fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }
}

/// A folder for a server, with one for its data.
fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("postgres-").tempdir();
    let folder = folder.expect("a folder").keep();
    let data = folder.join("data");
    fs::create_dir(&data).expect("a folder for the data");
    give_away(&folder);
    give_away(&data);
    folder
}

/// A command as a user that servers run as: PostgreSQL refuses root.
pub(super) fn as_server(program: &Path) -> Command {
    let [first, rest @ ..] = &command_as_server(program)[..] else {
        unreachable!("there is a program")
    };
    let mut command = Command::new(first);
    command.args(rest).current_dir("/");
    command
}

/// Gives a file or folder to that user.
pub(super) fn give_away(path: &Path) {
    if is_root() {
        let given = Command::new("chown")
            .arg("postgres:postgres")
            .arg(path)
            .status();
        assert!(given.expect("chown runs").success());
    }
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("permissions");
}

pub(super) fn command_as_server(program: &Path) -> Vec<String> {
    let program = program.to_str().expect("a path in UTF-8").to_owned();
    let mut command: Vec<String> = Vec::new();
    if is_root() {
        command.extend(
            [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
            ]
            .map(Into::into),
        );
    }
    command.push(program);
    command
}

fn start(
    binaries: &Path,
    folder: &Path,
    port: u16,
    is_durable: bool,
    remove: Option<&Path>,
) -> KillOnDrop {
    let mut command = command_as_server(&binaries.join("postgres"));
    if !is_durable {
        // The folder is removed anyway, so its data need not reach the disk.
        command.push("-F".into());
    }
    let data = folder.join("data");
    let port = port.to_string();
    command.extend(
        [
            "-D",
            data.to_str().expect("a path in UTF-8"),
            "-p",
            &port,
            "-k",
            folder.to_str().expect("a path in UTF-8"),
            "-h",
            "127.0.0.1",
            "-c",
            "max_connections=200",
            // The log names the database of each line.
            "-c",
            "log_line_prefix=%d|%p ",
        ]
        .map(Into::into),
    );
    if !is_durable {
        // The folder is removed anyway, so its data need not reach the disk.
        command.push("-F".into());
    }
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    // SIGQUIT releases the shared memory, which would outlive a killed process.
    KillOnDrop::start_for("QUIT", &command, &folder.join("log"), remove).expect("a server")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

/// The folder of `initdb` and the other server programs: on PATH, or where Debian keeps each version, of which the newest.
fn binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).find(|folder| folder.join("initdb").exists()) {
        return Some(found);
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let version = folder.file_name().and_then(OsStr::to_str)?.parse().ok()?;
            Some((version, folder.join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").exists())
        .collect();
    versions.sort_unstable();
    versions.pop().map(|(_, folder)| folder)
}

/// Moves the clock that SQL in this database sees, for connections that are opened afterwards: see [`advance`].
///
/// # Panics
///
/// If the database cannot be changed.
pub async fn make_clock_movable(url: &str) {
    // `clock_timestamp` in a statement then means the function of that name here, and not the server's own.
    let name = url.rsplit('/').next().expect("a name");
    let set_up = format!(
        "create schema moved;
         create table moved.forward (by interval not null);
         insert into moved.forward values ('0');
         create function moved.clock_timestamp() returns timestamptz volatile language sql as
             'select pg_catalog.clock_timestamp() + by from moved.forward';
         alter database {name} set search_path = moved, pg_catalog, public;"
    );
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    raw_sql(AssertSqlSafe(set_up))
        .execute(&mut connection)
        .await
        .expect("a clock");
}

/// Moves that clock forward.
///
/// # Panics
///
/// If the database has no such clock.
pub fn advance(url: &str, time: Duration) {
    let moved = format!(
        "update moved.forward set by = by + {} * interval '1 microsecond' returning 1",
        time.as_micros()
    );
    let url = url.to_owned();
    // Tests call this from within their runtime, which must not be blocked by another one on the same thread.
    let moving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await.expect("a connection");
            let moved = raw_sql(AssertSqlSafe(moved)).fetch_one(&mut connection);
            assert_eq!(moved.await.expect("a clock").get::<i32, _>(0), 1);
            connection.close().await.expect("an end");
        });
    });
    moving.join().expect("the clock is moved");
}
