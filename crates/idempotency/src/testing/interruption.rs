use std::fmt;

/// What happens to a request, or to the process that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interruption {
    /// The process ends, with everything that it was doing. The store keeps what it has.
    Crash,
    /// The client goes away, and the process continues.
    Disconnect,
    /// The store does not receive a call, and the caller gets an error.
    StoreUnreached,
    /// The store carries out a call, and the caller gets an error.
    ReplyLost,
}

impl Interruption {
    pub(super) const ALL: [Self; 4] = [
        Self::Crash,
        Self::Disconnect,
        Self::StoreUnreached,
        Self::ReplyLost,
    ];

    /// Whether it is a failure of a call of the store, and not of a request.
    pub(super) fn is_of_the_store(self) -> bool {
        matches!(self, Self::StoreUnreached | Self::ReplyLost)
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Crash => "crash",
            Self::Disconnect => "disconnection",
            Self::StoreUnreached => "store unreached",
            Self::ReplyLost => "reply lost",
        })
    }
}
