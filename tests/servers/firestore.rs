//! Google's emulator of Firestore: one that all tests of a process share, and others that a test may break.

mod documents;

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

pub use documents::Documents;

use super::{KillOnDrop, free_port, skip};

/// An emulator, which ends when this is dropped or with the process. It keeps all data in memory.
#[derive(Debug)]
pub struct FirestoreEmulator {
    port: u16,
    folder: PathBuf,
    running: Mutex<Option<Running>>,
    /// Removes the folder, which outlives the emulator's restarts, but not the process.
    _folder: KillOnDrop,
}

#[derive(Debug)]
struct Running {
    _process: KillOnDrop,
    pid: u32,
}

/// Held while a port is chosen and until the emulator has it, so that two tests do not choose the same one.
static STARTING: Mutex<()> = Mutex::new(());

/// Prints its process id before it becomes the emulator, so that the test can send it signals.
const NAMED: &str = r#"echo "pid: $$"; exec "$@""#;

impl FirestoreEmulator {
    /// The emulator that all tests of this process share, each with its own project; `None` where it is not
    /// installed.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<FirestoreEmulator>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A separate emulator, or `None` where it is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let jar = jar()?;
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let folder = TempDir::with_prefix("firestore").expect("a folder").keep();
            let emulator = Self {
                port: free_port(),
                _folder: KillOnDrop::start(
                    &["sleep", "infinity"],
                    &folder.join("log"),
                    Some(&folder),
                )
                .expect("a shell"),
                folder,
                running: Mutex::default(),
            };
            // Another process may have been faster.
            if let Some(running) = emulator.run(jar) {
                *emulator.running() = Some(running);
                return Some(emulator);
            }
        }
    }

    /// Its address, in the format of `FIRESTORE_EMULATOR_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as `kill -9` does.
    pub fn stop(&self) {
        *self.running() = None;
    }

    /// Starts it again, on the same port and without its data.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_again(&self) {
        let running = jar().and_then(|jar| self.run(jar));
        *self.running() = Some(running.expect("the port is still free"));
    }

    /// Suspends it, while its connections stay open, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it continue.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn run(&self, jar: &str) -> Option<Running> {
        let port = format!("--port={}", self.port);
        let class = "com.google.cloud.datastore.emulator.firestore.CloudFirestore";
        let command = [
            "sh",
            "-c",
            NAMED,
            "emulator",
            "java",
            "-Duser.language=en",
            "-Xmx512m",
            "-cp",
            jar,
            class,
            "--host=127.0.0.1",
            &port,
        ];
        let log = self.folder.join("log");
        let before = fs::read_to_string(&log).unwrap_or_default().len();
        let process = KillOnDrop::start(&command, &log, None).expect("a shell");
        loop {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let log = &log[before..];
            if log.contains("is now running") {
                let pid = log.lines().find_map(|line| line.strip_prefix("pid: "))?;
                let running = Running {
                    _process: process,
                    pid: pid.parse().ok()?,
                };
                self.warm_up();
                return Some(running);
            }
            if log.contains("Address already in use") {
                return None;
            }
            assert!(!log.contains("Exception"), "it does not start: {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes once, because the first write takes seconds while Java loads its classes.
    fn warm_up(&self) {
        let mut connection = TcpStream::connect(self.address()).expect("a connection");
        let request = "POST /v1/projects/warm/databases/(default)/documents/up HTTP/1.1\r\n\
             Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        connection.write_all(request.as_bytes()).expect("a request");
        // It leaves the connection open after the response.
        let mut status = [0; 12];
        connection.read_exact(&mut status).expect("a reply");
        assert_eq!(status, *b"HTTP/1.1 200");
    }

    fn signal(&self, signal: &str) {
        let pid = self.running().as_ref().expect("it runs").pid.to_string();
        let kill = Command::new("kill").args([signal, &pid]).status();
        assert!(kill.expect("kill").success());
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FirestoreEmulator {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The path of the emulator, if it and Java are installed.
fn jar() -> Option<&'static str> {
    static JAR: OnceLock<Option<String>> = OnceLock::new();
    let jar = JAR.get_or_init(|| {
        let mut java = Command::new("java");
        let java = java.arg("-version").stdout(Stdio::null()).stderr(Stdio::null());
        let why = match (find_jar(), java.status()) {
            (Some(jar), Ok(status)) if status.success() => return Some(jar),
            (Some(_), _) => "Java is not installed",
            (None, _) => {
                "the emulator's jar was not found: install it with `gcloud components install cloud-firestore-emulator`, \
                 or name it in FIRESTORE_EMULATOR_JAR"
            }
        };
        skip("Firestore", why, true);
        None
    });
    jar.as_deref()
}

/// The emulator that the environment names, or that of the Google Cloud SDK on the PATH or in a usual place.
fn find_jar() -> Option<String> {
    if let Ok(jar) = env::var("FIRESTORE_EMULATOR_JAR") {
        return Some(jar);
    }
    let on_path = env::var_os("PATH").and_then(|path| {
        let mut programs = env::split_paths(&path).map(|folder| folder.join("gcloud"));
        let program = programs.find(|program| program.is_file())?;
        let sdk = fs::canonicalize(program).ok()?;
        Some(sdk.parent()?.parent()?.to_owned())
    });
    let at_home = env::var_os("HOME").map(|home| PathBuf::from(home).join("google-cloud-sdk"));
    let usual = [
        "/usr/lib/google-cloud-sdk",
        "/usr/share/google-cloud-sdk",
        "/opt/google-cloud-sdk",
    ];
    on_path
        .into_iter()
        .chain(at_home)
        .chain(usual.map(PathBuf::from))
        .map(|sdk| sdk.join("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"))
        .find(|jar| jar.is_file())
        .and_then(|jar| jar.into_os_string().into_string().ok())
}
