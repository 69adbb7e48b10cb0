use std::{error::Error, fmt, sync::Arc};

use crate::store::tls::PROVIDER_MISSING;

/// Why a [`FirestoreStore`](super::FirestoreStore) could not be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FirestoreStoreError {
    /// The project id is not a valid one.
    Project,
    /// `FIRESTORE_EMULATOR_HOST` names this address on another machine, for a project that may be Google's. Unset it,
    /// or use [`FirestoreDatabase::connect_to_emulator`](super::FirestoreDatabase::connect_to_emulator).
    Emulator(Arc<str>),
    /// The application has not installed a `CryptoProvider` of rustls.
    CryptoProviderMissing,
    /// Firestore does not respond, refuses these credentials, or has no such database.
    Unreachable(Arc<dyn Error + Send + Sync>),
}

impl FirestoreStoreError {
    pub(super) fn unreachable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable(source.into().into())
    }
}

impl fmt::Display for FirestoreStoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Project => {
                "the id of a Google Cloud project has letters, digits and hyphens, such as my-project"
            }
            Self::Emulator(host) => {
                return write!(
                    formatter,
                    "FIRESTORE_EMULATOR_HOST names {host}, which is not on this machine; unset it, or use a project whose name begins with demo-"
                );
            }
            Self::CryptoProviderMissing => PROVIDER_MISSING,
            Self::Unreachable(_) => "Firestore cannot be reached, or it refused the project or its credentials",
        })
    }
}

impl Error for FirestoreStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Project | Self::Emulator(_) | Self::CryptoProviderMissing => None,
            Self::Unreachable(source) => Some(source.as_ref()),
        }
    }
}
