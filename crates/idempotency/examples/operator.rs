//! An operator finds the runs that a killed process has left in a SQLite file, and decides what their retries get.
//!
//! `cargo run --example operator -p idempotency --features sqlite`
//!
//! The killed process is this program, started once more for each payment: it aborts in the middle.

use std::{convert::Infallible, env, error::Error, process, time::Duration};

use idempotency::{
    Clock, Fingerprint, Idempotency, IdempotencyKey, Label, OnLost, Options, Rejection, Run,
    RunError, Scope, SqliteStore,
    store::{IfOwner, ListRequest, ListedPhase, Record, Resolution},
};

/// How far a lost run came is not known, so its retry is refused until an operator has looked.
const OPTIONS: Options = Options::new()
    .ttl(Duration::from_secs(24 * 3600))
    .lease(Duration::from_secs(30))
    .on_lost(OnLost::Refuse);

/// Whose keys these are. Operators find them by the label, which the store keeps readable.
fn ann() -> Scope {
    Scope::principal("ann").labelled(Label::text("customer-ann"))
}

/// Pays once under this key.
async fn pay(
    idempotency: &Idempotency,
    key: &IdempotencyKey,
    is_killed: bool,
) -> Result<Run<String>, RunError<Infallible>> {
    let fingerprint = Fingerprint::of([b"pay 5 EUR".as_slice()]);
    let work = move |_| async move {
        if is_killed {
            process::abort();
        }
        Ok("receipt 2".to_owned())
    };
    idempotency
        .run_with(&OPTIONS, &ann(), key, fingerprint, work)
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [file, key] = &arguments[..] {
        let idempotency = Idempotency::new(SqliteStore::open(file)?);
        pay(&idempotency, &IdempotencyKey::new(key)?, true).await?;
        return Err("the process has not died".into());
    }

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.db");
    for key in ["payment-1", "payment-2"] {
        let mut service = process::Command::new(env::current_exe()?);
        let status = service.arg(&file).arg(key).status()?;
        println!("The service has died while it paid under {key}: {status}");
    }
    // A clock of its own, so that the example need not wait until the leases have expired.
    let clock = Clock::manual();
    let store = SqliteStore::open(&file)?.with_clock(clock.clone());
    let idempotency = Idempotency::new(store);
    clock.advance(Duration::from_secs(31));
    operate(&idempotency).await
}

async fn operate(idempotency: &Idempotency) -> Result<(), Box<dyn Error>> {
    let keys = [
        IdempotencyKey::new("payment-1")?,
        IdempotencyKey::new("payment-2")?,
    ];
    for key in &keys {
        let Err(RunError::Rejected(refusal)) = pay(idempotency, key, false).await else {
            return Err("a retry has run".into());
        };
        println!("A retry is refused: {refusal}");
        assert!(matches!(refusal, Rejection::OutcomeUnknown));
    }

    println!("The list of this customer's runs whose lease is over:");
    let request = ListRequest::new(100).in_phase(ListedPhase::Lapsed);
    let label = idempotency.label_text(&Label::text("customer-ann"));
    let listed = idempotency.store().list(&request.labelled(&label)).await?;
    for found in &listed {
        println!("  {}: {:?}", found.id, found.record);
    }
    assert_eq!(listed.len(), 2);

    // The provider's list of payments has the first one and knows nothing of the second one.
    let seen = inspect(idempotency, &keys[0]).await?;
    let outcome = idempotency.outcome_of_value("receipt 1");
    let ttl = Duration::from_secs(24 * 3600);
    let complete = Resolution::Complete { outcome, ttl };
    let done = idempotency.resolve(&seen, complete).await?;
    assert_eq!(done, IfOwner::Done(()));
    // What was seen is not there any more: to decide twice changes nothing.
    let again = idempotency.resolve(&seen, Resolution::Release).await?;
    assert_eq!(again, IfOwner::NotOwner);
    let seen = inspect(idempotency, &keys[1]).await?;
    let released = idempotency.resolve(&seen, Resolution::Release).await?;
    assert_eq!(released, IfOwner::Done(()));

    let paid = pay(idempotency, &keys[0], false).await?;
    let unpaid = pay(idempotency, &keys[1], false).await?;
    println!("The retries after that: {paid:?}, {unpaid:?}");
    assert_eq!(paid, Run::Replayed("receipt 1".to_owned()));
    assert_eq!(unpaid, Run::Executed("receipt 2".to_owned()));
    Ok(())
}

/// The record of a key that a customer names.
async fn inspect(
    idempotency: &Idempotency,
    key: &IdempotencyKey,
) -> Result<Record, Box<dyn Error>> {
    let id = idempotency.record_id(&ann(), key);
    let record = idempotency.store().inspect(&id).await?;
    Ok(record.ok_or("the key is free")?)
}
