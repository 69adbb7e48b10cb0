//! What operators see of a key, and erase and free.

use std::time::{Duration, SystemTime};

use idempotency::{
    Clock, Idempotency, Label, MemoryStore, OnLost, Options, Rejection, Run, RunError, Scope,
    Store,
    operators::{Confirmation, KeyChange, KeyState, StoredResponse},
    store::{ClaimRequest, Hold, Record, RecordId, Resolution, StoreError, Token},
};

use crate::{
    RunResult, asked, begun_charge, charge, charge_with, key,
    watched::{WatchedStore, reaches},
};

// proves: key-state-shown
#[tokio::test]
async fn a_key_is_free_then_running_then_done_and_its_value_can_be_read() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let id = id(&idempotency);
    assert_eq!(state(&idempotency).await, KeyState::Free);
    let (run, finish) = begun_charge(&idempotency).await;
    assert_eq!(state(&idempotency).await, KeyState::Running);
    let running = record(&idempotency).await;
    let nothing = idempotency.stored_value(&running);
    assert_eq!(nothing.expect("no value"), StoredResponse::None);
    for change in [
        idempotency.erase(&id).await,
        idempotency
            .free(&id, &"0".repeat(32).parse().expect("one"))
            .await,
    ] {
        assert_eq!(change.expect("a response"), KeyChange::Held);
    }
    assert!(
        idempotency
            .ask_to_free(&id)
            .await
            .expect("a response")
            .is_none()
    );

    finish.send(()).expect("it waits");
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    assert_eq!(state(&idempotency).await, KeyState::Done);
    let done = record(&idempotency).await;
    let value = idempotency.stored_value(&done).expect("a value");
    assert_eq!(value, StoredResponse::Kept("1".into()));
}

// proves: key-state-shown
#[tokio::test]
async fn a_run_without_its_owner_is_lost_and_one_that_failed_after_a_step_is_suspended() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let id = id(&idempotency);
    let ttl = Duration::from_secs(60);
    let hold = Hold::new(id, Token::random(), Duration::ZERO, ttl);
    let asked = asked("charge");
    let lost = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
    idempotency.store().claim(lost).await.expect("a claim");
    assert_eq!(state(&idempotency).await, KeyState::Lost);
    assert_eq!(
        idempotency.erase(&id).await.expect("a response"),
        KeyChange::Held
    );
    let lost = record(&idempotency).await;
    let earlier = SystemTime::now() - Duration::from_secs(3600);
    assert_eq!(KeyState::of(&lost, earlier), KeyState::Running);
    let freed = idempotency.resolve(&lost, Resolution::Release).await;
    freed.expect("a response");
    assert_eq!(state(&idempotency).await, KeyState::Free);

    let failed: Result<Run<i32>, _> =
        crate::execute(&idempotency, &Options::new(), async |execution| {
            let step = execution.step("charge", async { Ok::<_, StoreError>(1) });
            step.await.expect("a step");
            Err(crate::Failed)
        })
        .await;
    assert!(matches!(failed, Err(RunError::Failed(crate::Failed))));
    assert_eq!(state(&idempotency).await, KeyState::Suspended);
}

// proves: erased-response-never-runs
#[tokio::test]
async fn work_whose_value_was_erased_is_not_done_again_before_its_ttl_is_over() {
    let clock = Clock::manual();
    let idempotency = Idempotency::new(MemoryStore::new().with_clock(clock.clone()));
    let id = id(&idempotency);
    assert_eq!(
        idempotency.erase(&id).await.expect("a response"),
        KeyChange::Free
    );
    let options = Options::new().ttl(Duration::from_secs(3600));
    let scope = Scope::anonymous().labelled(Label::text("Ann"));
    let first = idempotency
        .run_with(&options, &scope, &key("k"), asked("charge"), async |_| {
            Ok::<_, crate::Failed>("for Ann".to_owned())
        })
        .await;
    first.expect("a value");
    assert_eq!(record(&idempotency).await.labels.label(), Some("Ann"));
    for _ in 0..2 {
        assert_eq!(
            idempotency.erase(&id).await.expect("a response"),
            KeyChange::Made
        );
        assert_eq!(state(&idempotency).await, KeyState::Erased);
        let erased = record(&idempotency).await;
        assert_eq!(erased.labels.label(), None);
        let value = idempotency.stored_value(&erased).expect("no value");
        assert_eq!(value, StoredResponse::Erased);
        assert_erased(&charge(&idempotency, async { Ok(2) }).await);
    }
    let other = crate::refund(&idempotency, 2).await;
    assert!(matches!(other, Err(RunError::Rejected(Rejection::Reused))));
    clock.advance(Duration::from_secs(3600));
    assert_erased(&charge(&idempotency, async { Ok(2) }).await);
    clock.advance(Duration::from_secs(60));
    let anew = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(anew.ok(), Some(Run::Executed(2)));
}

/// A run whose response is erased took over from this one, so this one's result is not stored.
// proves: erased-response-never-runs, lost-lease-stores-nothing, stale-owner-writes
#[tokio::test]
async fn a_run_that_was_lost_cannot_end_over_an_erasure() {
    let clock = Clock::manual();
    let idempotency = Idempotency::new(MemoryStore::new().with_clock(clock.clone()));
    let (late, finish) = begun_charge(&idempotency).await;
    clock.advance(Duration::from_secs(30));
    let taken_over = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(taken_over.ok(), Some(Run::Executed(2)));
    let erased = idempotency.erase(&id(&idempotency)).await;
    assert_eq!(erased.expect("a response"), KeyChange::Made);
    finish.send(()).expect("it waits");
    assert_erased(&late.await.expect("no panic"));
    assert_eq!(state(&idempotency).await, KeyState::Erased);
    assert_erased(&charge(&idempotency, async { Ok(3) }).await);
}

// proves: freed-key-runs-again
#[tokio::test]
async fn a_key_is_freed_as_it_was_seen_and_not_otherwise() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let id = id(&idempotency);
    assert!(
        idempotency
            .ask_to_free(&id)
            .await
            .expect("a response")
            .is_none()
    );
    charge(&idempotency, async { Ok(1) })
        .await
        .expect("a value");
    let seen = idempotency.ask_to_free(&id).await.expect("a response");
    let seen = seen.expect("a completed run");
    let value = idempotency.stored_value(&seen.record).expect("a value");
    assert_eq!(value, StoredResponse::Kept("1".into()));
    let free = async |confirmation: &Confirmation| {
        let freed = idempotency.free(&id, confirmation).await;
        freed.expect("a response")
    };
    let made_up: Confirmation = "00".repeat(16).parse().expect("one");
    assert_eq!(free(&made_up).await, KeyChange::Changed);
    // By now another response would be lost.
    let outcome = idempotency.outcome_of_value(&2);
    let corrected = idempotency.resolve(&seen.record, Resolution::Replace { outcome });
    corrected.await.expect("a response");
    assert_eq!(free(&seen.confirmation).await, KeyChange::Changed);
    let again = charge(&idempotency, async { Ok(3) }).await;
    assert_eq!(again.ok(), Some(Run::Replayed(2)));

    let seen = idempotency.ask_to_free(&id).await.expect("a response");
    let seen = seen.expect("a completed run");
    let typed: Confirmation = seen.confirmation.to_string().parse().expect("one");
    assert_eq!(free(&typed).await, KeyChange::Made);
    assert_eq!(free(&typed).await, KeyChange::Free);
    let anew = charge(&idempotency, async { Ok(3) }).await;
    assert_eq!(anew.ok(), Some(Run::Executed(3)));
    // That is a later run, which the operator has not seen.
    assert_eq!(free(&typed).await, KeyChange::Changed);
}

/// The store has the value, but its reply was lost, so the run stores it again. Meanwhile its key was freed.
// proves: freed-key-runs-again, late-claim-holds-key
#[tokio::test(start_paused = true)]
async fn a_run_whose_key_was_freed_does_not_claim_it_again() {
    let clock = Clock::manual();
    let (store, calls) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(std::sync::Arc::clone(&store)).build();
    let (run, finish) = begun_charge(&idempotency).await;
    let seen = record(&idempotency).await;
    // As if the run's own completion had arrived, and the reply had not.
    let owner = Hold::new(
        seen.id,
        seen.token,
        Duration::from_secs(30),
        Duration::from_secs(3600),
    );
    let kept = store
        .complete(&owner, idempotency.outcome_of_value(&1))
        .await;
    kept.expect("a response");
    let asked = idempotency.ask_to_free(&seen.id).await.expect("a response");
    let asked = asked.expect("a completed run");
    let freed = idempotency.free(&seen.id, &asked.confirmation).await;
    assert_eq!(freed.expect("a response"), KeyChange::Made);
    let claims = *calls.claims.borrow();
    finish.send(()).expect("it waits");
    let late = run.await.expect("no panic");
    assert!(
        matches!(
            late,
            Err(RunError::Rejected(Rejection::ResponseUnavailable))
        ),
        "{late:?}"
    );
    // The run has tried to complete.
    reaches(&calls.claims, claims + 1).await;
    assert_eq!(state(&idempotency).await, KeyState::Free);
    let next = charge_with(&idempotency, &Options::new(), async { Ok(2) }).await;
    assert_eq!(next.ok(), Some(Run::Executed(2)));
}

#[test]
fn a_confirmation_is_32_hexadecimal_digits() {
    for text in [
        "",
        "0",
        &"0".repeat(31),
        &"0".repeat(33),
        &format!("+{}", "0".repeat(31)),
        &"g".repeat(32),
    ] {
        assert!(text.parse::<Confirmation>().is_err(), "{text:?}");
    }
}

fn id(idempotency: &Idempotency) -> RecordId {
    idempotency.record_id(&Scope::anonymous(), &key("k"))
}

async fn state(idempotency: &Idempotency) -> KeyState {
    let checked = idempotency.check(&id(idempotency)).await;
    checked.expect("a response")
}

async fn record(idempotency: &Idempotency) -> Record {
    let found = idempotency.store().inspect(&id(idempotency)).await;
    found.expect("a response").expect("a record")
}

#[track_caller]
fn assert_erased(response: &RunResult<u32>) {
    assert!(
        matches!(response, Err(RunError::Rejected(Rejection::Erased))),
        "{response:?}"
    );
}
