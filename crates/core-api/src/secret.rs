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

/// The key of the digests. It has no `Debug`, so that no log shows it.
pub(crate) struct Secret(Box<[u8]>);

/// The secrets with which keys are stored and found.
pub(crate) struct Secrets {
    /// The secret of new keys; `None` if they are stored without one.
    pub(crate) own: Option<Secret>,
    /// The other secret while the secret is being changed.
    pub(crate) other: Option<OtherSecret>,
}

/// The other secret of a change.
pub(crate) enum OtherSecret {
    Next(Secret),
    /// `None` if keys were stored without one.
    Previous(Option<Secret>),
}

/// The files that the options name.
#[derive(Clone, Debug)]
pub(crate) struct SecretFiles {
    pub(crate) own: Option<PathBuf>,
    pub(crate) other: Option<OtherFile>,
}

/// The file of the other secret.
#[derive(Clone, Debug)]
pub(crate) enum OtherFile {
    Next(PathBuf),
    Previous(Option<PathBuf>),
}

/// A secret file cannot be used, or none can be created.
#[derive(Debug)]
pub(crate) struct SecretError {
    /// The option that names the file.
    pub(crate) option: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: Failure,
}

/// Why there is no secret.
type Failure = Box<dyn Error + Send + Sync>;

/// The number of random bytes of a generated secret.
const GENERATED_BYTES: usize = 32;

const WITHOUT_SECRET: &str = "an attacker with a copy of the store can guess keys, principals, passwords of Basic \
    authentication and bodies offline";

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As many random bytes as a generated secret has.
pub(crate) fn random_bytes() -> Result<[u8; GENERATED_BYTES], Failure> {
    let mut bytes = [0; GENERATED_BYTES];
    let source = ring::default_provider().secure_random;
    source
        .fill(&mut bytes)
        .map_err(|_| "the system provides no random bytes")?;
    Ok(bytes)
}

/// For keys that are lost when the process ends.
pub(crate) fn of_memory(files: &SecretFiles) -> Result<Secrets, SecretError> {
    if let Some(other) = &files.other {
        let why = "keys in memory are lost when the process ends, and so is their secret, so there is no secret to change";
        return Err(other.error(why));
    }
    let generated = random_bytes().map_err(|source| SecretError::own(Path::new(""), source))?;
    Ok(Secrets {
        own: Some(Secret(generated.into())),
        other: None,
    })
}

/// For keys on a server: the files that the operator has installed on every machine. If this machine made a secret, the others
/// would not find its keys.
pub(crate) fn of_server(files: &SecretFiles) -> Result<Secrets, SecretError> {
    const NOT_MADE: &str = "there is no such file, and it is not made here, because every service that shares the store needs the same";
    let own = match &files.own {
        None => None,
        Some(path) => {
            let read = SecretFile::named(path).read();
            let found = read.and_then(|found| found.ok_or_else(|| NOT_MADE.into()));
            Some(found.map_err(|source| SecretError::own(path, source))?)
        }
    };
    let other = files.other.as_ref().map(OtherFile::read).transpose()?;
    let secrets = Secrets { own, other };
    match (&secrets, &files.other) {
        (Secrets { own: None, .. }, Some(previous @ OtherFile::Previous(_))) => {
            return Err(previous.error(
                "it needs --secret-file, with the secret that keys are stored with from now on",
            ));
        }
        (_, Some(other)) => other.check(&secrets)?,
        (Secrets { own: None, .. }, None) => tracing::warn!(
            "keys are stored without a secret: {WITHOUT_SECRET}; give every service that shares the store the same --secret-file",
        ),
        (_, None) => {}
    }
    Ok(secrets)
}

impl OtherFile {
    /// The secret in the file, which must exist.
    fn read(&self) -> Result<OtherSecret, SecretError> {
        let read = |path: &Path| {
            let found = SecretFile::named(path).read();
            found
                .and_then(|found| found.ok_or_else(|| "there is no such file".into()))
                .map_err(|source| self.error(source))
        };
        Ok(match self {
            Self::Next(path) => OtherSecret::Next(read(path)?),
            Self::Previous(path) => OtherSecret::Previous(path.as_deref().map(read).transpose()?),
        })
    }

    /// Fails if both secrets are the same; otherwise logs which deployment of the change this is.
    fn check(&self, secrets: &Secrets) -> Result<(), SecretError> {
        let other = secrets.other.as_ref().and_then(OtherSecret::secret);
        if let (Some(own), Some(other)) = (&secrets.own, other)
            && own.0 == other.0
        {
            return Err(self.error(
                "it has the same secret as --secret-file, and changing the secret needs two different ones",
            ));
        }
        let deployment = match self {
            Self::Next(_) => 1,
            Self::Previous(_) => 2,
        };
        tracing::info!(deployment, "the secret of the keys is being changed");
        Ok(())
    }

    fn error(&self, source: impl Into<Failure>) -> SecretError {
        let (option, path) = match self {
            Self::Next(path) => ("--next-secret-file", Some(path)),
            Self::Previous(path) => ("--previous-secret-file", path.as_ref()),
        };
        SecretError {
            option,
            path: path.map_or("none".into(), Clone::clone),
            source: source.into(),
        }
    }
}

impl OtherSecret {
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Next(secret) => Some(secret),
            Self::Previous(secret) => secret.as_ref(),
        }
    }
}

impl SecretError {
    fn own(path: &Path, source: Failure) -> Self {
        Self {
            option: "--secret-file",
            path: path.to_owned(),
            source,
        }
    }
}
