//! Redis: a server and a cluster that all tests of a process share, and servers that a test may break.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use redis::{Client, Connection, Script};
use tempfile::TempDir;

use super::{KillOnDrop, free_port, skip};

/// A server, which ends when this is dropped or with the process.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    program: String,
    arguments: Vec<String>,
    running: Mutex<Option<Running>>,
    /// Removes the folder, which outlives the server's restarts, but not the process.
    _folder: KillOnDrop,
}

#[derive(Debug)]
struct Running {
    _process: KillOnDrop,
    pid: u32,
}

/// Moves the times of the record back, in the layout of the store's `record.lua`. The server's own expiry time
/// stays, so that the stored time decides.
const SET_BACK: &str = "
    local head = '>I8I8'
    local bytes = redis.call('GET', KEYS[1])
    if not bytes then
        return
    end
    local expires_at, lease_until = struct.unpack(head, bytes, 7)
    local back = tonumber(ARGV[1])
    local times = struct.pack(head, expires_at - back, math.max(lease_until - back, 0))
    local rest = bytes:sub(23)
    if bytes:byte(1) == 2 then
        local tokens = math.floor(bytes:byte(2) / 16)
        local place = 50 + tokens * 16
        local created_at = struct.unpack('>I8', rest, place)
        rest = rest:sub(1, place - 1) .. struct.pack('>I8', created_at - back) .. rest:sub(place + 8)
    end
    redis.call('SET', KEYS[1], bytes:sub(1, 6) .. times .. rest, 'KEEPTTL')
";

/// Held while a port is chosen and until the server has it, so that two tests do not choose the same one.
static STARTING: Mutex<()> = Mutex::new(());

impl RedisServer {
    /// A separate server, with these options in addition; `None` where Redis is not installed.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Option<Self> {
        is_installed()
            .then(|| Self::start_on(|_| arguments.iter().map(|&word| word.into()).collect()))
    }

    /// A separate server with another port for TLS, and that port; `None` where Redis is not installed.
    #[must_use]
    pub fn start_with_tls(certificate: &str, key: &str) -> Option<(Self, u16)> {
        is_installed().then(|| {
            let server = Self::start_on(|port| tls_options(certificate, key, next_free_port(port)));
            let port = server.last_port();
            (server, port)
        })
    }

    /// The nodes of a separate cluster, with other ports for TLS, and the first of these; `None` where Redis is not installed.
    #[must_use]
    pub fn cluster_with_tls(certificate: &str, key: &str) -> Option<(Vec<Self>, u16)> {
        is_installed().then(|| {
            // Only nodes that use TLS among themselves announce their TLS ports.
            let cluster = ["--tls-cluster", "yes", "--tls-ca-cert-file", certificate];
            let nodes = start_nodes(3, |bus| {
                let options = tls_options(certificate, key, next_free_port(bus));
                let cluster = cluster.iter().map(|&word| word.to_owned());
                cluster.chain(options).collect()
            });
            let ports = nodes.iter().map(Self::last_port);
            join(&nodes, ports, &["--tls", "--cacert", certificate]);
            let port = nodes[0].last_port();
            (nodes, port)
        })
    }

    /// The server that all tests of this process share; `None` where Redis is not installed.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RedisServer>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[])).as_ref()
    }

    /// The three nodes of the cluster that all tests of this process share; `None` where Redis is not installed.
    #[must_use]
    pub fn shared_cluster() -> Option<&'static [Self]> {
        static SHARED: OnceLock<Option<Vec<RedisServer>>> = OnceLock::new();
        let nodes = SHARED.get_or_init(|| Self::cluster(3, &[]));
        nodes.as_deref()
    }

    /// The nodes of a separate cluster, three of which are primaries; `None` where Redis is not installed.
    #[must_use]
    pub fn cluster(nodes: usize, options: &[&str]) -> Option<Vec<Self>> {
        let options = |_| options.iter().map(|&word| word.to_owned()).collect();
        is_installed().then(|| {
            let nodes = start_nodes(nodes, options);
            join(&nodes, nodes.iter().map(|node| node.port), &[]);
            nodes
        })
    }

    /// A server of the oldest version that the store supports; `None` where the environment does not name its program.
    #[must_use]
    pub fn start_oldest() -> Option<Self> {
        let program = env::var("REDIS_6_2_SERVER").ok().or_else(|| {
            let why = "REDIS_6_2_SERVER does not say where its redis-server is (CONTRIBUTING.md)";
            skip("Redis 6.2", why, true);
            None
        })?;
        Some(Self::start_program(&program, |_| Vec::new()))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A connection for the test itself.
    ///
    /// # Panics
    ///
    /// If the server does not respond.
    #[must_use]
    pub fn connection(&self) -> Connection {
        let client = Client::open(self.url()).expect("a URL of Redis");
        client.get_connection().expect("a connection to Redis")
    }

    /// Kills it, as `kill -9` does.
    pub fn stop(&self) {
        *self.running() = None;
    }

    /// Starts it again, on the same port and in the same folder.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_again(&self) {
        *self.running() = Some(self.run().expect("the port is still free"));
    }

    /// Suspends it, while its connections stay open, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it continue.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// The port, which is the last of its options.
    fn last_port(&self) -> u16 {
        let port = self.arguments.last().expect("a port");
        port.parse().expect("a port")
    }

    fn start_on(arguments: impl Fn(u16) -> Vec<String>) -> Self {
        Self::start_program("redis-server", arguments)
    }

    fn start_program(program: &str, arguments: impl Fn(u16) -> Vec<String>) -> Self {
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let folder = TempDir::with_prefix("redis").expect("a folder").keep();
            let port = free_port();
            let server = Self {
                port,
                _folder: KillOnDrop::start(
                    &["sleep", "infinity"],
                    &folder.join("log"),
                    Some(&folder),
                )
                .expect("a shell"),
                folder,
                program: program.to_owned(),
                arguments: arguments(port),
                running: Mutex::default(),
            };
            // Another process may have been faster.
            if let Some(running) = server.run() {
                *server.running() = Some(running);
                return server;
            }
        }
    }

    fn run(&self) -> Option<Running> {
        let port = self.port.to_string();
        let folder = self.folder.to_str().expect("a path in UTF-8");
        let mut command = vec![
            self.program.as_str(),
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
        ];
        command.extend(["--dir", folder, "--save", ""]);
        command.extend(self.arguments.iter().map(String::as_str));
        let log = self.folder.join("log");
        let before = fs::read_to_string(&log).unwrap_or_default().len();
        let process = KillOnDrop::start(&command, &log, None).expect("a shell");
        loop {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let log = &log[before..];
            if log.contains("Ready to accept connections") {
                let pid = log.split(':').next()?.trim();
                return Some(Running {
                    _process: process,
                    pid: pid.parse().ok()?,
                });
            }
            if log.contains("Address already in use") {
                return None;
            }
            assert!(!log.contains("FATAL"), "Redis does not start: {log}");
            thread::sleep(Duration::from_millis(5));
        }
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

/// The options of each node may depend on the port of its bus.
fn start_nodes(count: usize, options: impl Fn(u16) -> Vec<String>) -> Vec<RedisServer> {
    let node = |_| {
        RedisServer::start_on(|port| {
            // The usual bus port, 10000 above, may be one of those for outgoing connections.
            let bus = next_free_port(port);
            let cluster = ["--cluster-enabled", "yes", "--cluster-port"].map(str::to_owned);
            let cluster = cluster.into_iter().chain([bus.to_string()]);
            cluster.chain(options(bus)).collect()
        })
    };
    (0..count).map(node).collect()
}

/// Makes a cluster of the nodes, three of which become primaries.
fn join(nodes: &[RedisServer], ports: impl Iterator<Item = u16>, options: &[&str]) {
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    let replicas = (nodes.len() / 3 - 1).to_string();
    let created = Command::new("redis-cli")
        .args(options)
        .args(["--cluster", "create"])
        .args(addresses)
        .args(["--cluster-replicas", &replicas, "--cluster-yes"])
        .output()
        .expect("redis-cli");
    assert!(created.status.success(), "{created:?}");
    // Each node learns of the others at its own time.
    for node in nodes {
        let mut connection = node.connection();
        while !cluster_info(&mut connection).contains("cluster_state:ok") {
            thread::sleep(Duration::from_millis(20));
        }
    }
    // A replica that has never received data from its primary does not take over.
    for replica in &nodes[3..] {
        let mut connection = replica.connection();
        while !info(&mut connection, "replication").contains("master_link_status:up") {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn tls_options(certificate: &str, key: &str, port: u16) -> Vec<String> {
    let options = ["--tls-auth-clients", "no", "--tls-cert-file", certificate];
    let options = options
        .into_iter()
        .chain(["--tls-key-file", key, "--tls-port"]);
    options
        .map(str::to_owned)
        .chain([port.to_string()])
        .collect()
}

fn info(connection: &mut Connection, section: &str) -> String {
    let info = redis::cmd("INFO").arg(section).query(connection);
    info.expect("the server's state")
}

fn cluster_info(connection: &mut Connection) -> String {
    let info = redis::cmd("CLUSTER").arg("INFO").query(connection);
    info.expect("the cluster's state")
}

/// Lets this much time pass for all records on this server whose keys begin with the prefix.
///
/// # Panics
///
/// If the server fails to do it.
pub fn set_back(server: &RedisServer, prefix: &str, time: Duration) {
    let mut connection = server.connection();
    for key in keys(&mut connection, prefix) {
        let back = u64::try_from(time.as_micros()).expect("a short time");
        let set: Result<(), _> = Script::new(SET_BACK)
            .key(key)
            .arg(back)
            .invoke(&mut connection);
        set.expect("the record is set back");
    }
}

/// The keys that begin with the prefix.
///
/// # Panics
///
/// If the server does not respond.
pub fn keys(connection: &mut Connection, prefix: &str) -> Vec<String> {
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(connection)
        .expect("all keys");
    keys.into_iter()
        .filter(|key| key.starts_with(prefix))
        .collect()
}

/// Another port, for a server that has this one.
fn next_free_port(port: u16) -> u16 {
    (port + 1..)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("a free port")
}

fn is_installed() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let found = ["redis-server", "redis-cli"].into_iter().all(|program| {
            let version = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .status();
            version.is_ok_and(|status| status.success())
        });
        if !found {
            skip(
                "Redis",
                "redis-server and redis-cli are not installed (Debian: apt-get install redis-server)",
                false,
            );
        }
        found
    })
}
