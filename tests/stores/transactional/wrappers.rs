//! Handlers whose engine has a wrapped store: their transactions bypass the wrappers, and claims read through them.

use std::{sync::Arc, time::Duration};

use idempotency::{
    OnLost, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, ListRequest, Phase, Resolution, Token},
};
use rstest::rstest;

use super::{Kind, Service, TransactionalApp};
use crate::wrapper::Wrapper;

/// What stands between the engine and its store.
#[derive(Clone, Copy, Debug)]
enum Wrapping {
    Counting,
    Masking,
    /// Two that change bytes, with handles around both.
    MaskingTwice,
}

impl Wrapping {
    const ALL: [Self; 3] = [Self::Counting, Self::Masking, Self::MaskingTwice];

    fn around(self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match self {
            Self::Counting => Arc::new(Wrapper::counting(store)),
            Self::Masking => Arc::new(Wrapper::masking(store, 3)),
            Self::MaskingTwice => {
                let inner = Arc::new(Wrapper::masking(store, 3));
                Arc::new(Arc::new(Wrapper::masking(inner, 5)))
            }
        }
    }

    fn changes_bytes(self) -> bool {
        !matches!(self, Self::Counting)
    }
}

impl TransactionalApp {
    async fn wrapped(&self, wrapping: Wrapping) -> Service {
        Service::start(self.database.clone(), wrapping.around(self.store())).await
    }
}

fn outcome(phase: &Phase) -> &[u8] {
    match phase {
        Phase::Completed { outcome } => outcome,
        other => panic!("not completed: {other:?}"),
    }
}

// proves: rows-and-key-commit-together, replay-keeps-body
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::firestore(Kind::Firestore)]
#[tokio::test]
async fn a_booking_behind_wrappers_is_committed_once_and_replayed(#[case] kind: Kind) {
    for wrapping in Wrapping::ALL {
        let Some(app) = TransactionalApp::new(kind).await else {
            return;
        };
        let service = app.wrapped(wrapping).await;
        for path in ["/book/now", "/leased/now"] {
            let key = &path[1..5];
            let first = service.send(path, key, key).await;
            first.assert_fresh(201);
            let again = service.send(path, key, key).await;
            again.assert_replay(201);
            assert_eq!(again.body, first.body);

            let seen = service.record(key).await.expect("a record");
            let behind = app.store().inspect(&seen.id).await.expect("a reply");
            let behind = behind.expect("the record behind the wrappers");
            let is_changed = outcome(&behind.phase) != outcome(&seen.phase);
            assert_eq!(is_changed, wrapping.changes_bytes(), "{wrapping:?}");
            let listed = service
                .idempotency
                .store()
                .list(&ListRequest::new(10))
                .await;
            let mut listed = listed.expect("a list").into_iter();
            let listed = listed.find(|listed| listed.id == seen.id).expect("listed");
            assert_eq!(listed.record.expect("readable").phase, seen.phase);
        }
        assert_eq!(service.runs(), 2, "{wrapping:?}");
        assert_eq!(app.guests().await.len(), 2, "{wrapping:?}");
    }
}

/// The transaction of the leased run completes the record itself.
// proves: rows-and-key-commit-together
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::firestore(Kind::Firestore)]
#[tokio::test]
async fn a_wrapper_sees_the_claims_of_runs_and_no_completion_of_theirs(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let wrapper = Wrapper::counting(app.store());
    let calls = Arc::clone(&wrapper.calls);
    let service = Service::start(app.database.clone(), Arc::new(wrapper)).await;
    let count = |call| calls.lock().get(call).copied().unwrap_or_default();
    assert_eq!(
        service.send("/leased/now", "leased", "Ann").await.status,
        201
    );
    assert_eq!((count("claim"), count("encode_outcome")), (1, 1));
    assert_eq!(service.send("/book/now", "own", "Bob").await.status, 201);
    assert_eq!((count("claim"), count("encode_outcome")), (1, 2));
    assert_eq!(count("complete"), 0);
}

/// Where the store is in memory, or in another database, the outcome passes the wrappers, and is changed by each of them once.
// proves: failed-completion-keeps-key, replay-keeps-body
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::firestore(Kind::Firestore)]
#[tokio::test]
async fn a_booking_beside_a_wrapped_store_elsewhere_is_replayed(#[case] kind: Kind) {
    for wrapping in Wrapping::ALL {
        let (Some(app), Some(other)) = (
            TransactionalApp::new(kind).await,
            TransactionalApp::new(kind).await,
        ) else {
            return;
        };
        let memory: Arc<dyn Store> = Arc::new(idempotency::MemoryStore::new());
        for store in [memory, other.store()] {
            let store = wrapping.around(store);
            let service = Service::start(app.database.clone(), store).await;
            let first = service.send("/leased/now", "k", "Ann").await;
            first.assert_fresh(201);
            let again = service.send("/leased/now", "k", "Ann").await;
            again.assert_replay(201);
            assert_eq!(again.body, first.body);
            app.remove("Ann").await;
        }
    }
}

/// The replies to both commits are lost, so the engine determines the outcome through the wrappers.
// proves: dead-owner-taken-over, unknown-commit-applied-twice
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::firestore(Kind::Firestore)]
#[tokio::test]
async fn a_commit_that_is_given_up_is_found_out_behind_wrappers(#[case] kind: Kind) {
    for wrapping in Wrapping::ALL {
        let Some(app) = TransactionalApp::new(kind).await else {
            return;
        };
        let service = app.wrapped(wrapping).await;
        for path in ["/book/give-up", "/leased/give-up"] {
            let key = &path[1..5];
            let first = service.send(path, key, key).await;
            let is_booked = app.guests().await.iter().any(|guest| guest == key);
            // 504 is the handler's own response, which stands where nothing was committed.
            let is_responded = first.status == 201;
            assert!(
                is_responded || first.status == 504,
                "{wrapping:?}: {first:?}"
            );
            assert_eq!(is_booked, is_responded, "{wrapping:?}: {first:?}");
            if is_booked {
                let again = service.send(path, key, key).await;
                again.assert_replay(201);
            }
        }
    }
}

/// Lost runs are taken over through the wrappers, and a late run gets the other run's outcome.
// proves: dead-owner-taken-over, lost-lease-stores-nothing
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::firestore(Kind::Firestore)]
#[tokio::test]
async fn a_lost_run_behind_wrappers_is_taken_over_and_resolved(#[case] kind: Kind) {
    for wrapping in Wrapping::ALL {
        let Some(app) = TransactionalApp::new(kind).await else {
            return;
        };
        let service = app.wrapped(wrapping).await;
        assert_eq!(service.send("/leased/now", "k", "Ann").await.status, 201);
        let kept = service.record("k").await.expect("a record");
        let store = service.idempotency.store();

        // Another run of the same request leaves only its expired lease.
        let forgotten = store.resolve(&kept.id, &kept.token, Resolution::Forget);
        assert_eq!(forgotten.await.ok(), Some(IfOwner::Done(())));
        app.remove("Ann").await;
        let hold = Hold::new(
            kept.id,
            Token::random(),
            Duration::ZERO,
            Duration::from_secs(60),
        );
        let lost = ClaimRequest::new(&hold, &kept.fingerprint, OnLost::TakeOver);
        let claim = store.claim(lost).await;
        assert!(
            matches!(claim, Ok(Claim::Won { attempt: 1, .. })),
            "{claim:?}"
        );
        // In SQLite a lease lasts to the end of its millisecond, and a request within it is too early.
        let mut second = service.send("/leased/now", "k", "Ann").await;
        while second.status == 409 {
            second = service.send("/leased/now", "k", "Ann").await;
        }
        second.assert_fresh(201);
        assert_eq!(*service.probe.attempts.lock(), [1, 2], "{wrapping:?}");
        assert_eq!(app.guests().await, ["Ann"]);

        // A run whose key an operator has completed meanwhile commits nothing, and gets the operator's outcome.
        let late = service.sending("/leased/stop", "late", "Bob");
        service.arrived().await;
        let held = service.record("late").await.expect("a record");
        let outcome = outcome(&kept.phase).to_vec();
        let complete = Resolution::Complete {
            outcome: outcome.clone().into(),
            ttl: Duration::from_secs(60),
        };
        let completed = service.idempotency.resolve(&held, complete).await;
        assert_eq!(completed.ok(), Some(IfOwner::Done(())));
        service.pass();
        let late = late.await.expect("a response");
        assert_eq!((late.status.as_u16(), late.text()), (201, "Ann has a room"));
        assert_eq!(app.guests().await, ["Ann"]);
        let replace = Resolution::Replace {
            outcome: outcome.into(),
        };
        let seen = service.record("late").await.expect("a record");
        let replaced = service.idempotency.resolve(&seen, replace).await;
        assert_eq!(replaced.ok(), Some(IfOwner::Done(())));
        let again = service.send("/leased/stop", "late", "Bob").await;
        again.assert_replay(201);
    }
}
