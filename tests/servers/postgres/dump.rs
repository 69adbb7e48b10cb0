//! What a database contains, as SQL.

use std::{fs, path::Path};

use super::{PostgresServer, as_server};

impl PostgresServer {
    /// The statements that make the tables of this database, and insert their rows.
    ///
    /// # Panics
    ///
    /// If that is not the URL of a database, or `pg_dump` is installed neither with the server nor on the path.
    #[must_use]
    pub fn dump(&self, url: &str) -> String {
        // What is on PATH may only be links to the server's programs.
        let initdb = fs::canonicalize(self.binaries.join("initdb")).expect("initdb");
        let beside = initdb.with_file_name("pg_dump");
        let program = if beside.exists() {
            beside.as_path()
        } else {
            Path::new("pg_dump")
        };
        let dumped = as_server(program)
            .args(["--inserts", "--no-owner", "--no-privileges", url])
            .output()
            .expect("pg_dump runs");
        assert!(dumped.status.success(), "{dumped:?}");
        String::from_utf8(dumped.stdout).expect("text")
    }
}
