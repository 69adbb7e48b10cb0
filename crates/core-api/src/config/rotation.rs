//! The options for changing the secret.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::secret::{OtherFile, SecretFiles};

/// The other secret while the secret is being changed in three deployments. No key is forgotten, and a key runs once even if
/// services of two consecutive deployments handle it.
#[derive(Clone, Debug, Default, Args)]
pub struct Rotation {
    /// The file of the next secret, for the first of the three deployments that change the secret:
    ///
    /// 1: --secret-file OLD --next-secret-file NEW. 2: --secret-file NEW --previous-secret-file OLD. 3: --secret-file NEW. Begin each
    /// deployment when the one before is complete, and the third one two days after that.
    ///
    /// To introduce a secret where keys are stored without one: 1: --next-secret-file NEW. 2: --secret-file NEW
    /// --previous-secret-file none. 3: --secret-file NEW.
    #[arg(
        long,
        env = "CORE_API_NEXT_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "previous_secret_file"
    )]
    pub next_secret_file: Option<PathBuf>,

    /// The file of the previous secret, for the second deployment; none if keys were stored without a secret.
    #[arg(long, env = "CORE_API_PREVIOUS_SECRET_FILE", value_name = "FILE")]
    pub previous_secret_file: Option<PathBuf>,
}

impl Rotation {
    /// Adds the file of the current secret.
    pub(crate) fn with(&self, own: Option<&Path>) -> SecretFiles {
        let next = self.next_secret_file.clone().map(OtherFile::Next);
        let previous = self.previous_secret_file.as_deref().map(|path| {
            let is_none = path == Path::new("none");
            OtherFile::Previous((!is_none).then(|| path.to_owned()))
        });
        SecretFiles {
            own: own.map(Into::into),
            other: next.or(previous),
        }
    }
}
