//! A database, the processes that use it, and the transactions of their runs.

use std::sync::{Arc, Mutex, MutexGuard};

use idempotency::{
    CommitError, Execution, Idempotency, Options, RunError, Store,
    options::RunMode,
    store::{ListRequest, ListedPhase},
};
use tokio::{execution, task::yield_now};

use crate::{
    client::{Failed, Reply, value},
    database::Database,
    ledger::Ledger,
    store::Speed,
    world::{KEY, OPTIONS, call},
};

/// Nothing is written before the commit.
pub(crate) const TRANSACTIONAL: Options = OPTIONS.mode(RunMode::Transactional);

#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) ledger: Ledger,
    /// The runs of which somebody was told that nothing is committed.
    undone: Arc<Mutex<Vec<u32>>>,
}

impl Shop {
    pub(crate) fn new(speed: Speed) -> Self {
        Self {
            database: Database::new(speed),
            ledger: Ledger::default(),
            undone: Arc::default(),
        }
    }

    /// The engine of one more process.
    pub(crate) fn process(&self) -> Idempotency {
        Idempotency::new(Arc::clone(&self.database.rows))
    }

    /// The call of a client to this process.
    pub(crate) fn call(
        &self,
        engine: &Idempotency,
        options: Options,
    ) -> impl Future<Output = Reply> + Send + use<> {
        let shop = self.clone();
        call(engine.clone(), options, KEY, async move |run| {
            shop.book(run).await
        })
    }

    /// Commits a row with the number of the run.
    async fn book(&self, run: Execution) -> Result<u32, Failed> {
        let begun = self.ledger.begin(KEY);
        yield_now().await;
        let insert = self.database.insert(begun.number);
        match run.commit_value_then(insert, |number| number).await {
            Ok(number) => Ok(number),
            Err(CommitError::Failed(_)) => {
                self.is_told_of(begun.number);
                Err(Failed)
            }
            Err(CommitError::Superseded) => Err(Failed),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Somebody is told that nothing of this run is committed.
    pub(crate) fn is_told_of(&self, run: u32) {
        self.undone().push(run);
    }

    fn undone(&self) -> MutexGuard<'_, Vec<u32>> {
        self.undone.lock().expect("no panic under the lock")
    }

    /// The rows.
    pub(crate) fn rows(&self) -> Vec<u32> {
        self.database.rows.rows()
    }

    /// What a client has learned: the number of the run that has committed, or that its own has not.
    #[track_caller]
    pub(crate) fn booked(reply: Reply) -> Option<u32> {
        match reply {
            Ok(run) => Some(run.into_value()),
            Err(RunError::Failed(Failed)) => None,
            Err(error) => panic!("neither a value nor a failure: {error:?}"),
        }
    }

    /// One more client gets what the others have got, from the only row. Nobody was told of that one that it is not there, and nothing is
    /// left under way.
    pub(crate) async fn end(
        self,
        processes: impl IntoIterator<Item = Idempotency>,
        booked: impl IntoIterator<Item = u32>,
    ) {
        let process = self.process();
        let retried = value(self.call(&process, TRANSACTIONAL).await);
        for engine in processes.into_iter().chain([process]) {
            engine.shutdown().await;
        }
        self.settle(booked.into_iter().chain([retried])).await;
    }

    /// The same, after all processes have ended, and once late commits have arrived.
    pub(crate) async fn settle(self, booked: impl IntoIterator<Item = u32>) {
        execution::all_ended().await;
        let rows = self.rows();
        assert_eq!(rows.len(), 1, "committed: {rows:?}");
        let mut clients = 0;
        for number in booked {
            assert_eq!(rows, [number], "a client has another one's number");
            clients += 1;
        }
        assert!(clients > 0, "the last client has no number");
        let undone = self.undone().clone();
        assert!(
            !undone.contains(&rows[0]),
            "{undone:?} of {rows:?} are told"
        );
        let in_flight = ListRequest::new(100).in_phase(ListedPhase::InFlight);
        let left = self.database.rows.list(&in_flight).await;
        assert!(left.expect("a memory").is_empty(), "a hold is left");
    }
}
