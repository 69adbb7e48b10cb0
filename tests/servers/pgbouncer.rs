//! PgBouncer in front of a PostgreSQL server, with transaction pooling and otherwise its default configuration.

use std::{env, fs, net::TcpStream, path::PathBuf, thread, time::Duration};

use super::{
    KillOnDrop, free_port,
    postgres::{PostgresServer, command_as_server, give_away},
    skip,
};

/// A pooler with a few connections for many clients.
#[derive(Debug)]
pub struct PgBouncer {
    _process: KillOnDrop,
    port: u16,
}

impl PgBouncer {
    /// Starts a pooler, or returns `None` where it is not installed.
    ///
    /// # Panics
    ///
    /// If it is installed and does not start.
    #[must_use]
    pub fn start(server: &PostgresServer) -> Option<Self> {
        let Some(binary) = binary() else {
            skip(
                "PgBouncer",
                "it was not found (Debian: apt-get install pgbouncer)",
                false,
            );
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("pgbouncer-")
            .tempdir()
            .expect("a folder")
            .keep();
        let port = free_port();
        let users = folder.join("users");
        let configuration = folder.join("pgbouncer.ini");
        fs::write(&users, "\"postgres\" \"\"\n").expect("a file");
        let settings = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {}\n\
             pool_mode = transaction\n\
             default_pool_size = 4\n\
             max_client_conn = 500\n",
            server.port(),
            users.display(),
        );
        fs::write(&configuration, settings).expect("a file");
        for path in [&folder, &users, &configuration] {
            give_away(path);
        }
        let mut command = command_as_server(&binary);
        command.push(configuration.to_str().expect("a path in UTF-8").into());
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let log = folder.join("log");
        let process = KillOnDrop::start(&command, &log, Some(&folder)).expect("a pooler");
        let started = (0..1500).any(|_| {
            let connected = TcpStream::connect(("127.0.0.1", port)).is_ok();
            if !connected {
                thread::sleep(Duration::from_millis(20));
            }
            connected
        });
        assert!(
            started,
            "{}",
            fs::read_to_string(log).expect("the pooler's log")
        );
        Some(Self {
            _process: process,
            port,
        })
    }

    /// The URL of this database through the pooler.
    ///
    /// # Panics
    ///
    /// If that is not the URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let name = database.rsplit('/').next().expect("a name");
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

fn binary() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join("pgbouncer"))
        .find(|binary| binary.exists())
}
