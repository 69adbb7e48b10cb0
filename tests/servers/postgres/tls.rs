//! A server that speaks TLS.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{PostgresServer, give_away};

/// Makes an authority, and its certificate for `localhost`.
const CERTIFY: &str = "
key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $key -keyout authority.key -out authority.crt -days 2 -subj '/CN=the authority of a test'
openssl req $key -keyout server.key -out server.csr -subj '/CN=localhost'
echo 'subjectAltName=DNS:localhost' > names
openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -out server.crt -days 2 -extfile names
";

impl PostgresServer {
    /// A server that speaks TLS as `localhost`, with a certificate of its own [authority](Self::authority).
    ///
    /// # Panics
    ///
    /// If it is installed and does not start, or there is no `openssl`.
    #[must_use]
    pub fn start_with_tls() -> Option<Self> {
        Self::start_as(false, |folder| {
            let certified = Command::new("sh")
                .args(["-ec", CERTIFY])
                .current_dir(folder)
                .stderr(Stdio::null())
                .status()
                .expect("a shell runs");
            assert!(certified.success(), "openssl: {certified}");
            for file in ["authority.crt", "server.crt", "server.key"] {
                give_away(&folder.join(file));
            }
            let settings =
                "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n";
            File::options()
                .append(true)
                .open(folder.join("data/postgresql.conf"))
                .and_then(|mut file| file.write_all(settings.as_bytes()))
                .expect("settings");
        })
    }

    /// The certificate of the authority that has certified a server with TLS.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }
}
