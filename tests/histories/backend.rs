//! The stores, and what can go wrong beside them.

use std::{sync::Arc, time::SystemTime};

use idempotency::{
    Clock, MemoryStore, OnLost, SqliteStore, Store,
    conformance::{Advance, TestStore},
    store::RecordId,
};
use tempfile::TempDir;
use tests::{
    delegate::{Delegate, Hooks},
    test_stores::{in_firestore, in_postgres, in_redis},
};

use crate::{
    call::{Call, Reply, Span, UNIT, Verb},
    disturbed::Disturbed,
    plan::Fault,
    reference::Reference,
};

/// A store for which time passes when a history says so.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn Store>,
    advance: Box<Advance<'static>>,
    disturbed: Option<Disturbed>,
    is_coarse: bool,
}

impl Backend {
    pub(crate) fn memory() -> Self {
        Self::in_memory(|store| store)
    }

    /// The memory store with these hooks.
    pub(crate) fn memory_as<H: Hooks>(hooks: impl FnOnce(MemoryStore) -> H) -> Self {
        Self::in_memory(|store| Delegate(hooks(store)))
    }

    fn in_memory<S: Store>(wrapped: impl FnOnce(MemoryStore) -> S) -> Self {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        TestStore::new(wrapped(store), move |time| clock.advance(time)).into()
    }

    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock = Clock::manual();
        let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
        let store = store.with_clock(clock.clone());
        let advance = move |time| {
            let _folder = &folder;
            clock.advance(time);
        };
        TestStore::new(store, advance).into()
    }

    pub(crate) async fn postgres() -> Option<Self> {
        in_postgres().await.map(Self::from)
    }

    pub(crate) async fn redis() -> Option<Self> {
        in_redis().await.map(Self::from)
    }

    pub(crate) async fn firestore() -> Option<Self> {
        in_firestore().await.map(|store| Self::from(store).coarse())
    }

    /// A store that knows the time of its server's last reply, and remembers spent tokens for longer than it has to.
    pub(crate) fn coarse(mut self) -> Self {
        self.is_coarse = true;
        self
    }

    /// A store on a server of its own, which is disturbed.
    pub(crate) fn on_disturbed(test_store: TestStore, disturbed: Disturbed) -> Self {
        let disturbed = Some(disturbed);
        Self {
            disturbed,
            ..test_store.into()
        }
    }

    /// The id of a key of a history, which no other history has.
    pub(crate) fn id(history: u64, key: u8) -> RecordId {
        id(history, key + 1)
    }

    /// The id before all keys of a history.
    pub(crate) fn before(history: u64) -> RecordId {
        id(history, 0)
    }

    /// A key of a history that begins now, as the reference has it.
    pub(crate) fn reference(&self, history: u64, key: u8, now: SystemTime) -> Reference {
        let reference = Reference::new(Self::id(history, key), now);
        if self.is_coarse {
            reference.remembering()
        } else {
            reference
        }
    }

    /// The call, as it can be compared on this store.
    pub(crate) fn adapted(&self, call: &Call) -> Call {
        let call = call.clone();
        if self.is_coarse {
            call.in_coarse_time()
        } else {
            call
        }
    }

    /// The store's time.
    pub(crate) async fn now(&self, history: u64) -> SystemTime {
        let probe = id(history, u8::MAX);
        let ask = async |verb| {
            let (lease, ttl) = (Span::Units(0), Span::Units(0));
            let call = Call {
                key: 0,
                owner: 0,
                lease,
                ttl,
                verb,
            };
            // A fault of the history before may meet it.
            loop {
                if let Ok(reply) = call.perform(&*self.store, probe, None).await {
                    return reply;
                }
            }
        };
        ask(Verb::Claim {
            request: 0,
            on_lost: OnLost::TakeOver,
        })
        .await;
        let Reply::Record(Some(record)) = ask(Verb::Inspect).await else {
            panic!("the key that was just claimed has no record");
        };
        // It would be listed.
        ask(Verb::Release).await;
        record.created_at.expect("a time")
    }

    /// Lets this go wrong, if it can.
    pub(crate) async fn suffer(&self, fault: Fault) {
        if let Some(disturbed) = &self.disturbed {
            disturbed.suffer(fault).await;
        }
    }

    /// How much has gone wrong. The number changes before and after each fault.
    pub(crate) fn faults(&self) -> usize {
        self.disturbed.as_ref().map_or(0, Disturbed::faults)
    }

    pub(crate) fn advance(&self, units: u8) {
        (self.advance)(UNIT * u32::from(units));
    }
}

impl From<TestStore> for Backend {
    fn from(test_store: TestStore) -> Self {
        Self {
            store: test_store.store,
            advance: test_store.advance,
            disturbed: None,
            is_coarse: false,
        }
    }
}

fn id(history: u64, last: u8) -> RecordId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&history.to_be_bytes());
    id[31] = last;
    RecordId::from_bytes(id)
}
