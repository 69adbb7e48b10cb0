use std::{error::Error, fmt, sync::Arc};

use crate::StoreError;

/// Why a [`RedisStore`](super::RedisStore) could not be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedisError {
    /// The URL cannot be used.
    Url(Arc<dyn Error + Send + Sync>),
    /// The URL begins with `rediss://`, and this program was built without the feature `redis-tls`.
    TlsMissing,
    /// The server was not reached, or refused the user.
    Connect(Arc<dyn Error + Send + Sync>),
}

impl RedisError {
    pub(super) fn url(source: redis::RedisError) -> Self {
        Self::Url(Arc::new(source))
    }

    pub(super) fn connect(source: redis::RedisError) -> Self {
        Self::Connect(Arc::new(source))
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "the URL of the Redis server cannot be used",
            Self::TlsMissing => "rediss:// needs the feature redis-tls of the crate idempotency",
            Self::Connect(_) => "the Redis server cannot be reached",
        })
    }
}

impl Error for RedisError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(source) | Self::Connect(source) => Some(source.as_ref()),
            Self::TlsMissing => None,
        }
    }
}

/// What a failed step means to the engine. A script passes on the error of a command in it, older servers within a
/// sentence of their own.
pub(super) fn failure(error: redis::RedisError) -> StoreError {
    if says(&error, "WRONGTYPE") {
        StoreError::unreadable(error)
    } else if says(&error, "OOM") {
        StoreError::full(error)
    } else {
        StoreError::unavailable(error)
    }
}

fn says(error: &redis::RedisError, code: &str) -> bool {
    error.code() == Some(code)
        || error
            .detail()
            .is_some_and(|detail| detail.split([' ', '-', ':']).any(|word| word == code))
}
