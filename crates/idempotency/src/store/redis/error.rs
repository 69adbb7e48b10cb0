use std::{error::Error, fmt, sync::Arc};

use super::NAME;
use crate::store::{StoreError, tls::PROVIDER_MISSING};

/// Why a [`RedisStore`](super::RedisStore) could not be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// The URL is invalid.
    Url(Arc<dyn Error + Send + Sync>),
    /// The URL begins with `rediss://`, and this program was built without the feature `redis-tls`.
    TlsMissing,
    /// The URL begins with `rediss://`, and the application has not installed a `CryptoProvider` of rustls.
    CryptoProviderMissing,
    /// The server could not be reached, or it rejected the user.
    Connect(Arc<dyn Error + Send + Sync>),
    /// The user may not run this command, which every store needs. It may lack others too.
    Right(Arc<str>),
    /// The server has this version, which is older than 6.2.
    Version(Arc<str>),
    /// The server is a replica and accepts no writes.
    Replica,
    /// The server belongs to a cluster and has only a part of the keys:
    /// [`RedisStore::cluster`](super::RedisStore::cluster) connects to the whole cluster.
    NodeOfCluster,
    /// The server does not belong to a cluster: [`RedisStore::connect`](super::RedisStore::connect) is for a single
    /// server.
    NotACluster,
}

impl RedisStoreError {
    pub(super) fn url(source: redis::RedisError) -> Self {
        Self::Url(Arc::new(source))
    }

    pub(super) fn connect(source: redis::RedisError) -> Self {
        let source = without_arguments(source);
        match source.detail() {
            Some(detail) if detail.contains("cluster support disabled") => Self::NotACluster,
            _ => Self::Connect(Arc::new(source)),
        }
    }
}

impl fmt::Display for RedisStoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "the URL of the Redis server is invalid",
            Self::TlsMissing => "rediss:// needs the feature redis-tls of the crate idempotency",
            Self::CryptoProviderMissing => PROVIDER_MISSING,
            Self::Connect(_) => "the Redis server cannot be reached",
            Self::Replica => "the Redis server is a replica and accepts no writes",
            Self::NodeOfCluster => {
                "the Redis server is one node of a cluster; use RedisStore::cluster"
            }
            Self::NotACluster => {
                "the Redis server does not belong to a cluster; use RedisStore::connect"
            }
            Self::Right(command) => {
                return write!(formatter, "the Redis user may not run {command}");
            }
            Self::Version(version) => {
                return write!(formatter, "Redis {version} is older than 6.2");
            }
        })
    }
}

impl Error for RedisStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(source) | Self::Connect(source) => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// What a failed step means to the engine. A script passes on the error of a command in it; older servers put it into a
/// sentence of their own.
pub(super) fn failure(error: redis::RedisError) -> StoreError {
    let error = without_arguments(error);
    let failure = if says(&error, "WRONGTYPE") {
        StoreError::unreadable(error)
    } else if says(&error, "OOM") {
        StoreError::full(error)
    } else if error.is_connection_refusal() {
        // The client does not return this error for a connection that was established.
        StoreError::unreached(error)
    } else {
        StoreError::unavailable(error)
    };
    failure.with_store(NAME)
}

/// Removes the arguments, because errors end up in logs. A server or proxy that does not know a command repeats what it
/// received: a password, or a response.
fn without_arguments(error: redis::RedisError) -> redis::RedisError {
    let Some(detail) = error.detail() else {
        return error;
    };
    match detail.split_once("args beginning with") {
        None => error,
        Some((before, _)) => {
            let code = error.code().unwrap_or("ERR").to_owned();
            redis::make_extension_error(code, Some(format!("{before}arguments")))
        }
    }
}

/// Whether the server's error has this code. An older server puts the code of a command in a script into a sentence of
/// its own: `ERR Error running script (call to f_…): @user_script:…: -READONLY You can't write …`.
pub(super) fn says(error: &redis::RedisError, code: &str) -> bool {
    error.code() == Some(code)
        || error
            .detail()
            .is_some_and(|detail| detail.split([' ', '-', ':']).any(|word| word == code))
}
