//! One call of a store, as a history has it, and what the store replies.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotency::{
    Fingerprint, OnLost, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, Labels, Record, RecordId, Resolution, StoreError,
        StoreErrorKind, Token,
    },
};

/// A unit of time: histories move the clock by whole ones, and leases and ttls end at none. So it does not matter how long the calls
/// themselves take.
pub(crate) const UNIT: Duration = Duration::from_secs(1000);

/// What leases and ttls have beyond whole units.
const REST: Duration = Duration::from_secs(300);

/// What a caller asks of the store about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) key: u8,
    /// Whose token it is.
    pub(crate) owner: u8,
    pub(crate) lease: Span,
    pub(crate) ttl: Span,
    pub(crate) verb: Verb,
}

/// How long a hold or an outcome lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Zero,
    /// So many units, and the rest.
    Units(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Claim {
        request: u8,
        on_lost: OnLost,
    },
    Withdraw {
        request: u8,
    },
    Renew,
    /// The bytes of a small number, of which some have equal lengths.
    Checkpoint(u8),
    Suspend(u8),
    Complete(u8),
    Release,
    Inspect,
    Resolve {
        seen: Seen,
        how: How,
    },
}

/// Which token an operator gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The caller's own.
    Own,
    /// That of the record which this caller has inspected last.
    Inspected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Release,
    Complete(u8),
    Replace(u8),
    Erase(u8),
    Forget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Claim(Claim),
    /// The claim's token is spent.
    Spent,
    Done,
    Completed(SystemTime),
    NotOwner,
    Record(Option<Record>),
}

impl Call {
    /// A read of this key.
    pub(crate) const fn inspection(key: u8) -> Self {
        Self {
            key,
            owner: 0,
            lease: Span::Zero,
            ttl: Span::Zero,
            verb: Verb::Inspect,
        }
    }

    /// The same call, for a store whose time is that of its server's last reply: there a span of no length lasts for a moment.
    pub(crate) fn in_coarse_time(mut self) -> Self {
        for span in [&mut self.lease, &mut self.ttl] {
            if *span == Span::Zero {
                *span = Span::Units(0);
            }
        }
        self
    }

    pub(crate) fn hold(&self, id: RecordId) -> Hold {
        let label = format!("customer {}", self.owner);
        Hold::new(
            id,
            token(self.owner),
            self.lease.duration(),
            self.ttl.duration(),
        )
        .with_labels(Labels::new(Some("POST /bookings"), Some(&label)))
    }

    /// The token that an operator gives.
    pub(crate) fn seen(&self, seen: Seen, inspected: Option<Token>) -> Token {
        match seen {
            Seen::Own => token(self.owner),
            Seen::Inspected => inspected.unwrap_or(Token::from_bytes([0; 16])),
        }
    }

    /// Asks the store. `inspected` is the token of the record that this caller has inspected last.
    pub(crate) async fn perform(
        &self,
        store: &dyn Store,
        id: RecordId,
        inspected: Option<Token>,
    ) -> Result<Reply, StoreError> {
        let hold = self.hold(id);
        let reply = match &self.verb {
            Verb::Claim { request, on_lost } => {
                let fingerprint = fingerprint(*request);
                let request = ClaimRequest::new(&hold, &fingerprint, *on_lost);
                match store.claim(request).await {
                    Ok(claim) => Reply::Claim(claim),
                    Err(error) if error.kind() == StoreErrorKind::Withdrawn => Reply::Spent,
                    Err(error) => return Err(error),
                }
            }
            Verb::Withdraw { request } => {
                store.withdraw(&hold, &fingerprint(*request)).await?;
                Reply::Done
            }
            Verb::Renew => store.renew(&hold).await?.into(),
            Verb::Checkpoint(number) => store.checkpoint(&hold, bytes(*number)).await?.into(),
            Verb::Suspend(number) => store.suspend(&hold, bytes(*number)).await?.into(),
            Verb::Complete(number) => store.complete(&hold, bytes(*number)).await?.into(),
            Verb::Release => store.release(&hold).await?.into(),
            Verb::Inspect => Reply::Record(store.inspect(&id).await?),
            Verb::Resolve { seen, how } => {
                let seen = self.seen(*seen, inspected);
                let resolution = how.resolution(self.ttl);
                store.resolve(&id, &seen, resolution).await?.into()
            }
        };
        Ok(reply)
    }
}

impl Verb {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Withdraw { .. } => "withdraw",
            Self::Renew => "renew",
            Self::Checkpoint(_) => "checkpoint",
            Self::Suspend(_) => "suspend",
            Self::Complete(_) => "complete",
            Self::Release => "release",
            Self::Inspect => "inspect",
            Self::Resolve { how, .. } => match how {
                How::Release => "release by an operator",
                How::Complete(_) => "complete by an operator",
                How::Replace(_) => "replace",
                How::Erase(_) => "erase",
                How::Forget => "forget",
            },
        }
    }
}

impl Reply {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Claim(Claim::Won { attempt: 1, .. }) => "first",
            Self::Claim(Claim::Won { .. }) => "taken over",
            Self::Claim(Claim::InFlight { .. }) => "in flight",
            Self::Claim(Claim::Unknown { .. }) => "unknown",
            Self::Claim(Claim::Completed { .. }) => "completed",
            Self::Claim(_) => "?",
            Self::Spent => "spent",
            Self::Done | Self::Completed(_) => "done",
            Self::NotOwner => "not the owner",
            Self::Record(Some(_)) => "a record",
            Self::Record(None) => "nothing",
        }
    }

    /// The token of the record that was inspected.
    pub(crate) fn inspected(&self) -> Option<Token> {
        match self {
            Self::Record(Some(record)) => Some(record.token),
            _ => None,
        }
    }
}

impl From<IfOwner<()>> for Reply {
    fn from(reply: IfOwner<()>) -> Self {
        match reply {
            IfOwner::Done(()) => Self::Done,
            IfOwner::NotOwner => Self::NotOwner,
            other => unreachable!("no store replies {other:?}"),
        }
    }
}

impl From<IfOwner<SystemTime>> for Reply {
    fn from(reply: IfOwner<SystemTime>) -> Self {
        match reply {
            IfOwner::Done(expires_at) => Self::Completed(expires_at),
            IfOwner::NotOwner => Self::NotOwner,
            other => unreachable!("no store replies {other:?}"),
        }
    }
}

impl Span {
    pub(crate) fn duration(self) -> Duration {
        match self {
            Self::Zero => Duration::ZERO,
            Self::Units(units) => UNIT * u32::from(units) + REST,
        }
    }
}

impl How {
    pub(crate) fn resolution(self, ttl: Span) -> Resolution {
        match self {
            Self::Release => Resolution::Release,
            Self::Complete(number) => Resolution::Complete {
                outcome: bytes(number),
                ttl: ttl.duration(),
            },
            Self::Replace(number) => Resolution::Replace {
                outcome: bytes(number),
            },
            Self::Erase(number) => Resolution::Erase {
                outcome: bytes(number),
            },
            Self::Forget => Resolution::Forget,
        }
    }
}

pub(crate) fn token(owner: u8) -> Token {
    Token::from_bytes([owner + 1; 16])
}

pub(crate) fn fingerprint(request: u8) -> Fingerprint {
    Fingerprint::of([[request].as_slice()])
}

/// Nothing, one byte, two, or two others.
pub(crate) fn bytes(number: u8) -> Bytes {
    Bytes::from_static(match number {
        0 => b"",
        1 => b"a",
        2 => b"bb",
        _ => b"cc",
    })
}
