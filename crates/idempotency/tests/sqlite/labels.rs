//! The labels and times that the file stores, and how records are found by them.

use std::time::SystemTime;

use idempotency::store::{Labels, ListedPhase, Record};

use super::*;

fn labels() -> Labels {
    Labels::new(Some("POST /bookings"), Some("customer 7"))
}

async fn existing(store: &SqliteStore, key: u8) -> Record {
    let found = store.inspect(&hold(key).id).await;
    found.expect("an inspection").expect("a record")
}

async fn listed(store: &SqliteStore, request: ListRequest) -> Vec<RecordId> {
    let listed = store.list(&request).await.expect("a list");
    listed.into_iter().map(|listed| listed.id).collect()
}

fn milliseconds(time: SystemTime) -> Duration {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since_1970.expect("a time after 1970").as_millis();
    Duration::from_millis(milliseconds.try_into().expect("a time before the end"))
}

#[tokio::test]
async fn a_file_of_the_version_before_has_records_without_times_and_labels() {
    let folder = Folder::new();
    let (running, ended) = (hold(1).with_labels(labels()), hold(2).with_labels(labels()));
    {
        let store = SqliteStore::open(folder.file()).expect("a store");
        for hold in [&running, &ended] {
            assert_eq!(claim(&store, hold, &asked()).await.ok(), Some(won(1)));
        }
        let done = store.complete(&ended, Bytes::from_static(b"booked")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    }
    let later = ["created_at", "completed_at", "route", "label"];
    drop(earlier_file(&folder.file(), &later));

    let store = SqliteStore::open(folder.file()).expect("a store");
    for key in [1, 2] {
        let record = existing(&store, key).await;
        assert_eq!((record.created_at, record.completed_at), (None, None));
        assert_eq!(record.labels, Labels::default());
    }
    let all = || ListRequest::new(10);
    // Their age is unknown, so they are listed too.
    let old = listed(&store, all().created_before(SystemTime::UNIX_EPOCH)).await;
    assert_eq!(old, [running.id, ended.id]);
    assert_eq!(listed(&store, all().labelled("customer 7")).await, []);
    let done = store
        .complete(&running, Bytes::from_static(b"booked"))
        .await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let record = existing(&store, 1).await;
    assert_eq!(record.created_at, None);
    assert!(record.completed_at.is_some());
    let new = hold(3).with_labels(labels());
    assert_eq!(claim(&store, &new, &asked()).await.ok(), Some(won(1)));
    drop(store);
    let store = SqliteStore::open(folder.file()).expect("a store");
    let record = existing(&store, 3).await;
    assert!(record.created_at.is_some());
    assert_eq!(record.labels, labels());
}

/// An earlier version that takes an expired record writes none of the new columns.
#[tokio::test]
async fn a_running_record_has_no_time_of_completion_whatever_the_file_says() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
    let stale = "update idempotency_records set completed_at = 1";
    let made_stale = store
        .database()
        .write(move |connection| connection.execute(stale, ()));
    assert_eq!(made_stale.await.ok(), Some(1));
    assert_eq!(existing(&store, 1).await.completed_at, None);
}

/// While the service is stopped, leases do not run, but expiry dates do.
#[tokio::test]
async fn the_times_of_a_record_are_dates() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let folder = Folder::new();
    let clock = Clock::manual();
    let open = || {
        let store = SqliteStore::open(folder.file()).expect("a store");
        store.with_clock(clock.clone())
    };
    let before = clock.wall();
    {
        let store = open();
        assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
    }
    clock.set_wall(before + DAY);
    let store = open();
    let late = hold(2);
    assert_eq!(claim(&store, &late, &asked()).await.ok(), Some(won(1)));
    let done = store.complete(&late, Bytes::new()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let (first, last) = (existing(&store, 1).await, existing(&store, 2).await);
    let dates = [first.created_at, last.created_at, last.completed_at];
    let dates = dates.map(|date| milliseconds(date.expect("a date")));
    let (now, before) = (milliseconds(before + DAY), milliseconds(before));
    assert_eq!(dates, [before, now, now]);

    let all = || ListRequest::new(10);
    let (lapsed, old) = (
        all().in_phase(ListedPhase::Lapsed),
        all().created_before(clock.wall()),
    );
    assert_eq!(listed(&store, lapsed.clone()).await, []);
    assert_eq!(listed(&store, old).await, [hold(1).id]);
    clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(listed(&store, lapsed.clone()).await, []);
    clock.advance(Duration::from_millis(1));
    assert_eq!(listed(&store, lapsed).await, [hold(1).id]);
}

#[tokio::test]
async fn a_narrow_list_finds_a_match_after_many_other_records() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let mut wanted = Vec::new();
    for number in 0..600_u16 {
        let mut id = [7; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let mut hold = hold(0);
        hold.id = RecordId::from_bytes(id);
        if [300, 301, 599].contains(&number) {
            wanted.push(hold.id);
            hold.labels = labels();
        }
        assert_eq!(claim(&store, &hold, &asked()).await.ok(), Some(won(1)));
    }
    let narrow = |limit| ListRequest::new(limit).labelled("customer 7");
    assert_eq!(listed(&store, narrow(10)).await, wanted);
    assert_eq!(listed(&store, narrow(2)).await, wanted[..2]);
    let rest = narrow(10).after(wanted[0]);
    assert_eq!(listed(&store, rest).await, wanted[1..]);
    assert_eq!(listed(&store, narrow(10).after(wanted[2])).await, []);
    assert_eq!(listed(&store, narrow(0)).await, []);
    assert_eq!(listed(&store, ListRequest::new(1000)).await.len(), 600);
    for distant in [1 << 40, 1 << 50] {
        let distant = Duration::from_secs(distant);
        for (before, expected) in [
            (SystemTime::UNIX_EPOCH.checked_add(distant), 600),
            (SystemTime::UNIX_EPOCH.checked_sub(distant), 0),
        ] {
            let Some(before) = before else { continue };
            let request = ListRequest::new(1000).created_before(before);
            assert_eq!(listed(&store, request).await.len(), expected);
        }
    }
}
