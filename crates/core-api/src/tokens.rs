//! Bearer tokens, each with a subject and a role, in a file that is read again when it changes.

mod add;
mod digest;
mod file;
mod freshness;
mod line;
mod role;
mod subject;
mod table;
mod watch;

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;

use freshness::Freshness;
use table::Table;

pub(crate) use add::New;
pub(crate) use digest::Digest;
pub use line::Expiry;
pub use role::Role;
pub use subject::Subject;
pub(crate) use watch::Watch;

/// The tokens that are valid now.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    /// The contents of the last valid version of the file.
    current: RwLock<Arc<Table>>,
    /// Whether these are the file's current contents.
    freshness: Freshness,
}

/// The holder of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) subject: Subject,
    pub(crate) role: Role,
}

/// A token that is valid now.
#[derive(Clone, Debug)]
pub(crate) struct Valid {
    pub(crate) holder: Holder,
    pub(crate) digest: Digest,
}

/// Why the file cannot be used. The text quotes nothing from the file, because a token may be in the wrong place.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

impl Tokens {
    /// Reads the file.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let text = file::read(path)?;
        let table = Table::read(&text)?;
        file::warn_of_other_writers(path);
        let (tokens, subjects) = table.counts();
        tracing::info!(tokens, subjects, path = %path.display(), "requests to bookings need a token from this file");
        Ok(Self {
            path: path.to_owned(),
            current: RwLock::new(Arc::new(table)),
            freshness: Freshness::new(),
        })
    }

    /// Whether the file could not be used when it was last read again, or could not be read for too long.
    pub(crate) fn is_stale(&self) -> bool {
        self.freshness.is_stale()
    }

    /// The holder of this token, if it is valid now.
    pub(crate) fn find(&self, token: &[u8]) -> Option<Valid> {
        let table = Arc::clone(&self.current.read());
        let digest = Digest::of(token);
        table.holder(&digest).map(|holder| Valid {
            holder: holder.clone(),
            digest,
        })
    }
}
