//! What was asked of a store, when, and what it replied.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use idempotency::store::Token;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::call::{Call, Reply};

/// What happened to one key, from the moment `invoked` to the moment `returned`.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) what: What,
    pub(crate) invoked: u64,
    /// After everything else, if no reply came: then it may have been done at any time, or never.
    pub(crate) returned: u64,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are calls")]
#[derive(Clone, Debug)]
pub(crate) enum What {
    Call {
        call: Call,
        inspected: Option<Token>,
        reply: Option<Reply>,
        /// Whether the store may have sent it twice, because it lost a connection meanwhile.
        may_be_repeated: bool,
    },
    /// The clock was moved, while no caller waited for a reply.
    Advance(u8),
}

/// The operations on each key.
#[derive(Debug)]
pub(crate) struct History {
    /// Counts invocations and returns, and is their clock.
    moment: AtomicU64,
    keys: Vec<Mutex<Vec<Operation>>>,
    calls: watch::Sender<usize>,
}

impl History {
    pub(crate) fn new(keys: u8) -> Self {
        Self {
            moment: AtomicU64::new(0),
            keys: (0..keys).map(|_| Mutex::default()).collect(),
            calls: watch::Sender::new(0),
        }
    }

    pub(crate) fn moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// The moment at which a call is sent.
    pub(crate) fn begin(&self) -> u64 {
        let moment = self.moment();
        self.calls.send_modify(|calls| *calls += 1);
        moment
    }

    /// Returns once so many calls have been sent.
    pub(crate) async fn reach(&self, calls: usize) {
        let mut sent = self.calls.subscribe();
        // The sender is here.
        drop(sent.wait_for(|&sent| sent >= calls).await);
    }

    pub(crate) fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Notes an operation on this key.
    pub(crate) fn note(&self, key: u8, what: What, invoked: u64) {
        let returned = match &what {
            What::Call { reply: None, .. } => u64::MAX,
            What::Call { .. } | What::Advance(_) => self.moment(),
        };
        let operation = Operation {
            what,
            invoked,
            returned,
        };
        self.keys[usize::from(key)].lock().push(operation);
    }

    /// The operations of each key, in the order in which they were invoked.
    pub(crate) fn into_keys(self) -> Vec<Vec<Operation>> {
        let keys = self.keys.into_iter().map(Mutex::into_inner);
        let sorted = keys.map(|mut operations| {
            operations.sort_by_key(|operation| operation.invoked);
            operations
        });
        sorted.collect()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.returned {
            u64::MAX => write!(formatter, "{:4}..     ", self.invoked)?,
            returned => write!(formatter, "{:4}..{returned:<4} ", self.invoked)?,
        }
        match &self.what {
            What::Advance(units) => write!(formatter, "the clock moves by {units}"),
            What::Call { call, reply, .. } => {
                let Call {
                    owner,
                    lease,
                    ttl,
                    verb,
                    ..
                } = call;
                write!(formatter, "{owner}: {verb:?}, {lease:?}, {ttl:?}: ")?;
                match reply {
                    Some(reply) => write!(formatter, "{reply:?}"),
                    None => write!(formatter, "no reply"),
                }
            }
        }
    }
}
