//! Options, settings, and the `Debug` output of their types.

use std::{sync::Arc, time::Duration};

use idempotency::{
    Clock, Fingerprint, Idempotency, IdempotencyBuilder, IdempotencyKey, Label, MemoryStore,
    OnDuplicate, OnLost, Options, Run, Scope, Store,
    store::{Claim, ClaimRequest, Hold, ListRequest, Phase, Resolution, Token},
};

use crate::{Failed, asked, charge, charge_with, key};

// proves: bad-ttl-does-not-compile
#[test]
#[should_panic(expected = "the ttl must be at least one second")]
fn a_ttl_of_zero_is_a_mistake() {
    let _ = Options::new().ttl(Duration::ZERO);
}

// proves: bad-ttl-does-not-compile
#[test]
#[should_panic(expected = "the ttl must be at most ten years (315360000 seconds)")]
fn a_ttl_of_more_than_ten_years_is_a_mistake() {
    let _ = Options::new().ttl(Duration::from_secs(315_360_001));
}

// proves: bad-ttl-does-not-compile
#[test]
#[should_panic(expected = "the ttl must be a whole number of seconds")]
fn a_ttl_with_a_fraction_of_a_second_is_a_mistake() {
    let _ = Options::new().ttl(Duration::from_millis(1_500));
}

// proves: bad-ttl-does-not-compile
#[test]
#[should_panic(expected = "the lease must be at least one second")]
fn a_lease_of_zero_is_a_mistake() {
    let _ = Options::new().lease(Duration::ZERO);
}

// proves: bad-ttl-does-not-compile
#[test]
#[should_panic(expected = "the lease must be a whole number of seconds")]
fn a_lease_of_less_than_a_second_is_a_mistake() {
    let _ = Options::new().lease(Duration::from_nanos(1));
}

// proves: bad-ttl-does-not-compile
#[test]
fn the_shortest_and_the_longest_time_are_taken() {
    let second = Duration::from_secs(1);
    let _ = Options::new().ttl(second).lease(second);
    let _ = Options::new().ttl(Duration::from_secs(315_360_000));
}

// proves: option-order-matters
#[test]
#[should_panic(expected = "the lease must not be longer than the ttl")]
fn a_lease_longer_than_the_ttl_is_a_mistake() {
    let _ = Options::new()
        .ttl(Duration::from_secs(10))
        .lease(Duration::from_secs(11));
}

// proves: option-order-matters
#[test]
#[should_panic(expected = "the lease must not be longer than the ttl")]
fn a_ttl_shorter_than_the_lease_is_a_mistake() {
    let _ = Options::new()
        .lease(Duration::from_secs(11))
        .ttl(Duration::from_secs(10));
}

// proves: option-order-matters
#[tokio::test]
async fn options_and_settings_can_be_said_in_any_order() {
    let one = Options::new()
        .ttl(Duration::from_secs(60))
        .lease(Duration::from_secs(10))
        .required();
    let other = Options::new()
        .required()
        .lease(Duration::from_secs(10))
        .ttl(Duration::from_secs(60));
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    let wait = OnDuplicate::Wait;
    let one = Options::new()
        .on_duplicate(wait)
        .ttl(Duration::from_secs(60));
    let other = Options::new()
        .ttl(Duration::from_secs(60))
        .on_duplicate(wait);
    assert_eq!(format!("{one:?}"), format!("{other:?}"));

    let settings: [fn(IdempotencyBuilder) -> IdempotencyBuilder; 3] = [
        |builder| builder.with_namespace("orders"),
        |builder| builder.with_secret(b"a secret"),
        |builder| builder.with_sweep_every(Duration::from_secs(1)),
    ];
    let build = |order: [usize; 3]| {
        let builder = Idempotency::builder(MemoryStore::new());
        order
            .into_iter()
            .fold(builder, |builder, next| settings[next](builder))
            .build()
    };
    let id = |idempotency: &Idempotency| idempotency.record_id(&Scope::anonymous(), &key("k"));
    let plain = Idempotency::new(MemoryStore::new());
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        assert_eq!(id(&build(order)), id(&build([0, 2, 1])), "{order:?}");
        assert_ne!(id(&build(order)), id(&plain), "{order:?}");
    }
}

// proves: digest-parts-delimited, fingerprint-hides-body, store-sees-digests-only
// proves: key-names-other-storage, components-derive-different-keys, upgrade-changes-key-derivation
#[tokio::test]
async fn names_of_records_differ_by_namespace_secret_scope_and_key_and_stay_what_they_are() {
    let build = |namespace, secret: &[u8]| {
        let builder = Idempotency::builder(MemoryStore::new()).with_namespace(namespace);
        match secret {
            b"" => builder.build(),
            secret => builder.with_secret(secret).build(),
        }
    };
    let mut ids = Vec::new();
    for engine in [
        build("", b""),
        build("a", b""),
        build("", b"a"),
        build("ab", b""),
        build("a", b"b"),
    ] {
        for scope in [
            Scope::anonymous(),
            Scope::principal("a"),
            Scope::credentials(b"a"),
        ] {
            for name in ["a", "ab"] {
                ids.push(engine.record_id(&scope, &key(name)));
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5 * 3 * 2);

    // An upgrade that derives other ids would forget every key. The first version derived this one.
    let id = build("", b"").record_id(&Scope::principal("ann"), &key("k"));
    assert_eq!(id.to_string(), "396a9f31406289c8");
    // The engine and an operator find the same record.
    let idempotency = build("orders", b"a secret");
    let run = charge(&idempotency, async { Ok(1) }).await;
    assert_eq!(run.expect("a value"), Run::Executed(1));
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let records = idempotency
        .store()
        .list(&ListRequest::new(10))
        .await
        .expect("a list");
    assert_eq!(
        records.iter().map(|record| record.id).collect::<Vec<_>>(),
        [id]
    );
}

/// A customer's number that was not filled in is no word that records of all such customers have in common.
#[tokio::test]
async fn an_empty_label_is_none() {
    let idempotency = Idempotency::builder(MemoryStore::new())
        .with_secret(b"a secret")
        .build();
    let labels = [
        (Label::text("customer 8"), true),
        (Label::text(""), false),
        (Label::digest(""), false),
    ];
    for (number, (label, is_kept)) in labels.into_iter().enumerate() {
        let scope = Scope::principal("ann").labelled(Label::text("another"));
        let scope = scope.labelled(label.clone());
        let key = key(&number.to_string());
        let run = idempotency.run(&scope, &key, asked("charge"), async { Ok::<_, Failed>(1) });
        assert_eq!(run.await.expect("a value"), Run::Executed(1));
        let id = idempotency.record_id(&scope, &key);
        let record = idempotency.store().inspect(&id).await.expect("a response");
        let labels = record.expect("a record").labels;
        let expected = is_kept.then(|| idempotency.label_text(&label));
        assert_eq!(labels.label(), expected.as_deref());
    }
}

// proves: store-clock-decides
#[tokio::test]
async fn the_stores_clock_decides_and_no_other() {
    // The clock stands still, on another day than today.
    let clock = Clock::manual();
    let idempotency = Idempotency::new(MemoryStore::new().with_clock(clock.clone()));
    let options = Options::new().ttl(Duration::from_secs(60));
    let first = charge_with(&idempotency, &options, async { Ok(1) }).await;
    assert_eq!(first.expect("a value"), Run::Executed(1));
    let record = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let record = idempotency.store().inspect(&record).await.expect("a reply");
    let expires_at = record.expect("a record").expires_at;
    // A tenth longer than announced.
    assert_eq!(expires_at, clock.now() + Duration::from_secs(66));
    clock.advance(Duration::from_millis(65_999));
    let again = charge_with(&idempotency, &options, async { Ok(2) }).await;
    assert_eq!(again.expect("a value"), Run::Replayed(1));
    clock.advance(Duration::from_millis(1));
    let after = charge_with(&idempotency, &options, async { Ok(3) }).await;
    assert_eq!(after.expect("a value"), Run::Executed(3));
}

// proves: last-second-replayed, forgotten-before-retries-stop, record-gone-last-second
#[tokio::test]
async fn without_a_ttl_a_response_is_kept_for_a_day() {
    let clock = Clock::manual();
    let idempotency = Idempotency::new(MemoryStore::new().with_clock(clock.clone()));
    let first = charge(&idempotency, async { Ok(1) }).await;
    assert_eq!(first.expect("a value"), Run::Executed(1));
    // And for a minute of grace.
    clock.advance(Duration::from_secs(24 * 60 * 60 + 59));
    let again = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(again.expect("a value"), Run::Replayed(1));
    clock.advance(Duration::from_secs(1));
    let after = charge(&idempotency, async { Ok(3) }).await;
    assert_eq!(after.expect("a value"), Run::Executed(3));
}

// proves: keys-and-bodies-never-logged, keys-in-logs
#[tokio::test]
async fn no_debug_output_shows_a_key_a_caller_or_a_response() {
    let store = MemoryStore::new();
    let idempotency = Idempotency::builder(Arc::new(store.clone()))
        .with_namespace("a-secret-namespace")
        .with_secret(b"a-secret-secret")
        .build();
    let scope = Scope::principal("a-secret-subject");
    let key = IdempotencyKey::new("a-secret-key").expect("a key");
    let fingerprint: Fingerprint = asked("a-secret-body");
    let run = idempotency.run(&scope, &key, fingerprint, async {
        Ok::<_, Failed>("a-response".to_owned())
    });
    run.await.expect("a value");
    let id = idempotency.record_id(&scope, &key);
    let record = store.inspect(&id).await.expect("a reply");
    let token = record.as_ref().expect("a record").token;
    let taken = Hold::new(
        id,
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(60),
    );
    let fingerprint_in_store = record.as_ref().expect("a record").fingerprint;
    let claim = store.claim(ClaimRequest::new(
        &taken,
        &fingerprint_in_store,
        OnLost::TakeOver,
    ));
    let claim = claim.await.expect("a reply");
    assert!(matches!(claim, Claim::Completed { .. }));
    let progress = bytes::Bytes::from_static(b"a-response");
    let won = Claim::won(2, progress.clone());
    let running = Phase::InFlight {
        lease_until: std::time::SystemTime::UNIX_EPOCH,
        progress: progress.clone(),
    };
    let resolution = Resolution::Complete {
        outcome: progress,
        ttl: Duration::from_secs(60),
    };
    let builder = Idempotency::builder(Arc::new(store.clone()))
        .with_namespace("a-secret-namespace")
        .with_secret(b"a-secret-secret");
    let bytes = format!("{:?}", b"a-secret-secret");
    let printed = format!(
        "{builder:?} {record:?} {claim:?} {won:?} {running:?} {resolution:?} {taken:?} {idempotency:?} {store:?} {scope:?} {:?} {key:?} {fingerprint:?} {id:?} {id} {token:?}",
        Scope::credentials(b"a-secret-token"),
    );
    assert!(
        !printed.contains("a-secret") && !printed.contains("a-response"),
        "{printed}"
    );
    assert!(
        !printed.contains(bytes.trim_matches(['[', ']'])),
        "{printed}"
    );
}
