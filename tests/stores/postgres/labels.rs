//! How records are found by their labels and times, and which of these an earlier version's tables have.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotency::{
    PostgresStore, Store,
    store::{IfOwner, Labels, ListRequest, RecordId, Resolution, StoreErrorKind},
};

use super::{database, hex, hold_on, new_hold, request, sql, store};
use crate::{claim, won};

fn labels() -> Labels {
    Labels::new(Some("POST /bookings"), Some("customer 7"))
}

async fn listed(store: &PostgresStore, request: ListRequest) -> Vec<RecordId> {
    let listed = store.list(&request).await.expect("a list");
    listed.into_iter().map(|listed| listed.id).collect()
}

#[tokio::test]
async fn tables_of_the_version_before_have_records_without_times_and_labels() {
    let Some(url) = database().await else { return };
    let (running, ended) = (
        new_hold().with_labels(labels()),
        new_hold().with_labels(labels()),
    );
    {
        let store = store(&url).await;
        for hold in [&running, &ended] {
            assert_eq!(claim(&store, hold, &request()).await.ok(), Some(won(1)));
        }
        let done = store.complete(&ended, Bytes::from_static(b"booked")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    }
    sql(
        &url,
        "alter table idempotency_records
             drop column created_at, drop column completed_at, drop column route, drop column label",
    )
    .await;

    let store = store(&url).await;
    for hold in [&running, &ended] {
        let found = store.inspect(&hold.id).await;
        let record = found.expect("an inspection").expect("a record");
        assert_eq!((record.created_at, record.completed_at), (None, None));
        assert_eq!(record.labels, Labels::default());
    }
    // Their age is unknown, so they are listed too.
    let all = || ListRequest::new(10);
    let mut ids = vec![running.id, ended.id];
    ids.sort_unstable();
    let old = all().created_before(SystemTime::UNIX_EPOCH);
    assert_eq!(listed(&store, old).await, ids);
    assert_eq!(listed(&store, all().labelled("customer 7")).await, []);
    let done = store
        .complete(&running, Bytes::from_static(b"booked"))
        .await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let found = store.inspect(&running.id).await;
    let record = found.expect("an inspection").expect("a record");
    assert_eq!(record.created_at, None);
    assert!(record.completed_at.is_some());
    let new = new_hold().with_labels(labels());
    assert_eq!(claim(&store, &new, &request()).await.ok(), Some(won(1)));
    let found = store.inspect(&new.id).await;
    let record = found.expect("an inspection").expect("a record");
    assert!(record.created_at.is_some());
    assert_eq!(record.labels, labels());
}

/// An earlier version that runs at the same time writes none of the new columns, even where it takes an expired record.
#[tokio::test]
async fn a_running_record_has_no_time_of_completion_whatever_the_table_says() {
    let Some(url) = database().await else { return };
    let (store, hold) = (store(&url).await, new_hold());
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
    sql(&url, "update idempotency_records set completed_at = now()").await;
    let found = store.inspect(&hold.id).await;
    let record = found.expect("an inspection").expect("a record");
    assert_eq!(record.completed_at, None);
}

#[tokio::test]
async fn a_narrow_list_finds_a_match_after_many_other_records() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    sql(
        &url,
        "insert into idempotency_records
             (id, fingerprint, token, attempt, expires_at, phase, lease_until, created_at, label)
         select decode(lpad(to_hex(number), 64, '0'), 'hex'), decode(repeat('01', 33), 'hex'),
             decode(repeat('02', 16), 'hex'), 1, now() + interval '1 day', 1, now() + interval '1 hour', now(),
             case when number in (1700, 1701, 3000) then 'customer 7' else 'customer 8' end
         from generate_series(1, 3000) as number",
    )
    .await;
    // Rows with malformed ids, which no page counts.
    sql(
        &url,
        "insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase)
         select decode(lpad(to_hex(number), 62, '0'), 'hex'), '', '', 1, now() + interval '1 day', 9
         from generate_series(1, 50) as number",
    )
    .await;
    let id = |number: u16| {
        let mut id = [0; 32];
        id[30..].copy_from_slice(&number.to_be_bytes());
        RecordId::from_bytes(id)
    };
    let wanted = [id(1700), id(1701), id(3000)];
    let narrow = |limit| ListRequest::new(limit).labelled("customer 7");
    assert_eq!(listed(&store, narrow(10)).await, wanted);
    assert_eq!(listed(&store, narrow(2)).await, wanted[..2]);
    let rest = narrow(10).after(wanted[0]);
    assert_eq!(listed(&store, rest).await, wanted[1..]);
    assert_eq!(listed(&store, narrow(10).after(wanted[2])).await, []);
    assert_eq!(listed(&store, narrow(0)).await, []);
    assert_eq!(listed(&store, ListRequest::new(3)).await, [1, 2, 3].map(id));
    let all: Vec<_> = (1..=3000).map(id).collect();
    assert_eq!(listed(&store, ListRequest::new(usize::MAX)).await, all);
    for distant in [1 << 40, 1 << 50] {
        let distant = Duration::from_secs(distant);
        for (before, expected) in [
            (SystemTime::UNIX_EPOCH.checked_add(distant), 3000),
            (SystemTime::UNIX_EPOCH.checked_sub(distant), 0),
        ] {
            let Some(before) = before else { continue };
            let request = ListRequest::new(usize::MAX).created_before(before);
            assert_eq!(listed(&store, request).await.len(), expected);
        }
    }
}

#[tokio::test]
async fn a_narrow_list_shows_what_cannot_be_read() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    for damage in [
        "phase = 4",
        "phase = 2",
        "lease_until = null",
        "lease_until = 'infinity'",
        "expires_at = 'infinity'",
        "fingerprint = '\\x02'",
        "token = ''",
        "attempt = -1",
        "created_at = 'infinity'",
        "completed_at = '-infinity'",
    ] {
        let (hold, other) = (new_hold(), new_hold());
        for hold in [&hold, &other] {
            claim(&store, hold, &request()).await.expect("a claim");
        }
        let id = hex(&hold);
        sql(
            &url,
            &format!("update idempotency_records set {damage} where id = '{id}'"),
        )
        .await;
        let narrow = ListRequest::new(10)
            .labelled("customer 7")
            .created_before(SystemTime::UNIX_EPOCH);
        let listed = store.list(&narrow).await.expect("a list");
        let kinds = listed
            .into_iter()
            .map(|listed| (listed.id, listed.record.err().map(|error| error.kind())));
        let unreadable = (hold.id, Some(StoreErrorKind::Unreadable));
        assert_eq!(kinds.collect::<Vec<_>>(), [unreadable], "{damage}");
        sql(&url, "delete from idempotency_records").await;
    }
}

/// Both were taken for a release.
#[tokio::test]
async fn what_is_for_completed_records_frees_no_key_of_a_run() {
    let Some(url) = database().await else { return };
    let (store, hold) = (store(&url).await, new_hold());
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
    let outcome = Bytes::from_static(b"corrected");
    for resolution in [Resolution::Replace { outcome }, Resolution::Forget] {
        let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
        assert_eq!(resolved.ok(), Some(IfOwner::NotOwner));
    }
    let other = claim(&store, &hold_on(hold.id), &request()).await;
    let in_flight = idempotency::store::Claim::in_flight(request());
    assert_eq!(other.ok(), Some(in_flight));
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
}
