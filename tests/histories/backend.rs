//! The stores, and what can go wrong beside them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use idempotency::{
    Clock, MemoryStore, OnLost, SqliteStore, Store,
    conformance::{Advance, TestStore},
    store::RecordId,
};
use tests::{
    delegate::{Delegate, Hooks},
    test_stores::{in_firestore, in_postgres, in_redis},
};
use tokio::sync::RwLock;

use crate::{
    call::{Call, Reply, Span, UNIT, Verb},
    disturbed::Disturbed,
    killed::KilledProcess,
    plan::Fault,
    reference::Reference,
};

/// A store for which time passes when a history says so.
pub(crate) struct Backend {
    store: RwLock<Arc<dyn Store>>,
    /// How many processes with the store have died.
    deaths: AtomicUsize,
    advance: Box<Advance<'static>>,
    trouble: Trouble,
    is_coarse: bool,
}

/// What can go wrong.
enum Trouble {
    /// Nothing. The memory store ends with its process, so none of it could be there after a kill.
    None,
    /// The server is disturbed. The store's own process goes on.
    Server(Disturbed),
    /// The store's own process dies.
    Process(KilledProcess),
}

/// The store, as one process has it.
pub(crate) struct InProcess {
    pub(crate) store: Arc<dyn Store>,
    number: usize,
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
        let trouble = Trouble::Server(disturbed);
        Self {
            trouble,
            ..test_store.into()
        }
    }

    /// A store whose process is killed.
    pub(crate) fn on_killed(
        store: SqliteStore,
        advance: impl Fn(Duration) + Send + Sync + 'static,
        killed: KilledProcess,
    ) -> Self {
        let trouble = Trouble::Process(killed);
        Self {
            trouble,
            ..TestStore::new(store, advance).into()
        }
    }

    /// The store, as the process has it that runs now.
    pub(crate) async fn process(&self) -> InProcess {
        let store = self.store.read().await;
        InProcess {
            number: self.deaths.load(Ordering::SeqCst),
            store: Arc::clone(&store),
        }
    }

    /// Whether this process has died, so that what it replies reaches nobody.
    pub(crate) fn has_died(&self, process: &InProcess) -> bool {
        self.deaths.load(Ordering::SeqCst) != process.number
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

    /// The store's time, before a history.
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
            let process = self.process().await;
            loop {
                if let Ok(reply) = call.perform(&*process.store, probe, None).await {
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
        match (&self.trouble, fault) {
            (Trouble::Server(disturbed), fault) => disturbed.suffer(fault).await,
            (Trouble::Process(_), Fault::Kill) => self.kill_process().await,
            (Trouble::Process(_), Fault::LostReply) | (Trouble::None, _) => {}
        }
    }

    /// Kills the process with the store, if it leaves something that the next one can open.
    pub(crate) async fn kill_process(&self) {
        let Trouble::Process(killed) = &self.trouble else {
            return;
        };
        let mut store = self.store.write().await;
        // What a caller is told from now on may not be in the file.
        self.deaths.fetch_add(1, Ordering::SeqCst);
        *store = killed.kill().await;
    }

    /// How much has gone wrong with the server. The number changes before and after each fault.
    pub(crate) fn faults(&self) -> usize {
        match &self.trouble {
            Trouble::Server(disturbed) => disturbed.faults(),
            Trouble::None | Trouble::Process(_) => 0,
        }
    }

    pub(crate) fn advance(&self, units: u8) {
        (self.advance)(UNIT * u32::from(units));
    }
}

impl From<TestStore> for Backend {
    fn from(test_store: TestStore) -> Self {
        Self {
            store: RwLock::new(test_store.store),
            deaths: AtomicUsize::new(0),
            advance: test_store.advance,
            trouble: Trouble::None,
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
