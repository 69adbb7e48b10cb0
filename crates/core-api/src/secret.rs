//! The secret with which keys are stored, so that a copy of the store does not reveal them.

mod file;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use rustls::crypto::ring;

use file::SecretFile;

/// What digests are keyed with. It has no `Debug`, so that no log shows it.
pub(crate) struct Secret(Box<[u8]>);

/// The file of the secret cannot be used, or none can be made.
#[derive(Debug)]
pub(crate) struct SecretError {
    pub(crate) path: PathBuf,
    pub(crate) source: Failure,
}

/// Why there is no secret.
type Failure = Box<dyn Error + Send + Sync>;

/// How many random bytes a generated secret has.
const GENERATED_BYTES: usize = 32;

const WITHOUT_SECRET: &str = "an attacker with a copy of the store can guess keys, principals, passwords of Basic \
    authentication and bodies offline";

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As many as a generated secret has.
pub(crate) fn random_bytes() -> Result<[u8; GENERATED_BYTES], Failure> {
    let mut bytes = [0; GENERATED_BYTES];
    let source = ring::default_provider().secure_random;
    source
        .fill(&mut bytes)
        .map_err(|_| "the system gives no random bytes")?;
    Ok(bytes)
}

/// For keys that end with the process.
pub(crate) fn of_memory() -> Result<Secret, SecretError> {
    let generated = random_bytes().map_err(|source| SecretError {
        path: PathBuf::new(),
        source,
    })?;
    Ok(Secret(generated.into()))
}

/// For keys on a server: the file that the operator has given to every machine. A secret that this machine made would hide its
/// keys from the others.
pub(crate) fn of_server(named: Option<&Path>) -> Result<Option<Secret>, SecretError> {
    let Some(path) = named else {
        tracing::warn!(
            "keys are stored without a secret: {WITHOUT_SECRET}; give every service that shares the store the same --secret-file",
        );
        return Ok(None);
    };
    match SecretFile::named(path).read() {
        Ok(Some(secret)) => Ok(Some(secret)),
        Ok(None) => Err("there is no such file, and it is not made here, because every service that shares the store needs the same".into()),
        Err(error) => Err(error),
    }
    .map_err(|source| SecretError {
        path: path.to_owned(),
        source,
    })
}
