//! What else than the store changes in a file whose records rounds have moved.

use std::{future::poll_fn, pin::pin, sync::mpsc};

use tokio::sync::oneshot;

use super::*;
use crate::store::Verdict;

// proves: damaged-record-frees-key
#[tokio::test]
async fn a_file_without_places_gets_them_at_the_start() {
    let file = File::new();
    complete(&file.open(), all()).await;
    assert!(file.change("delete from idempotency_places") > 0);
    let store = file.open();
    assert_stored(&store, all()).await;
    drop(store);
    assert!(file.count("idempotency_places") > 2 * ROUND);
    assert_stored(&file.open(), all()).await;
}

// proves: damaged-record-frees-key
#[tokio::test]
async fn moved_records_that_another_program_removes_or_renames_are_gone() {
    let file = File::new();
    let store = file.open();
    complete(&store, all()).await;
    let connection = Connection::open(file.path()).expect("a connection");
    let delete = "delete from idempotency_records where id = ?1";
    assert_eq!(connection.execute(delete, [id(1).as_bytes()]), Ok(1));
    let rename = "update idempotency_records set id = ?1 where id = ?2";
    let (to, from) = (id(all().end), id(2));
    assert_eq!(
        connection.execute(rename, [to.as_bytes(), from.as_bytes()]),
        Ok(1)
    );
    let renamed = claim(&store, &hold(all().end)).await;
    assert!(matches!(renamed, Claim::Completed { outcome: found, .. } if found == outcome(2)));
    complete(&store, [1, 2]).await;
    assert_stored(&store, all()).await;
}

const DANGLING: &str = "idempotency_places as entry where start > x'' and not exists (
    select 1 from idempotency_records where place = entry.place and substr(id, 1, 8) = entry.start
)";

/// In both, the number of places is not what betrays it alone.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_start_notices_that_a_recovery_has_lost_places() {
    let lost = "delete from idempotency_places where start > x'80'";
    let replaced = "update idempotency_places set place = 1 where place = 5";
    for damage in [lost, replaced] {
        let file = File::new();
        complete(&file.open(), all()).await;
        assert!(file.change(damage) > 0);
        assert_stored(&file.open(), all()).await;
        assert_eq!(file.count(DANGLING), 0, "{damage}");
    }
}

// proves: damaged-record-frees-key
#[tokio::test]
async fn a_place_that_is_left_over_hinders_no_key() {
    let file = File::new();
    let store = file.open();
    complete(&store, all()).await;
    let new = all().end;
    let left_over = "
        insert into idempotency_places
        select substr(id, 1, 8), place + 800000 from idempotency_records where place < 9
    ";
    assert_eq!(file.change(left_over), 8);
    assert_stored(&store, all()).await;
    let start = id(new).as_bytes()[..8].to_vec();
    let connection = Connection::open(file.path()).expect("a connection");
    let left_over = "insert into idempotency_places values (?1, 900000)";
    assert_eq!(connection.execute(left_over, [start]), Ok(1));
    complete(&store, [new]).await;
    assert_stored(&store, [new]).await;
}

/// The application may do by its own work what it should not.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_round_moves_no_place_whose_record_is_gone() {
    let file = File::new();
    let store = file.open();
    let round = u32::try_from(ROUND).expect("a small number");
    complete(&store, 0..round - 9).await;
    let delete = |connection: &Connection| {
        connection.execute(
            "delete from idempotency_records where place in (21, 23, 24)",
            (),
        )
    };
    assert_eq!(store.database().write(delete).await.ok(), Some(3));
    complete(&store, round - 9..4 * round).await;
    assert!(file.count("idempotency_places where start > x''") > ROUND);
    assert_eq!(file.count(DANGLING), 0);
    complete(&store, [20, 22, 23]).await;
    assert_stored(&store, 0..4 * round).await;
}

/// Into the middle of the places that the table has.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_record_that_an_operator_puts_back_is_found() {
    let file = File::new();
    let store = file.open();
    complete(&store, all()).await;
    let connection = Connection::open(file.path()).expect("a connection");
    let remove = "delete from idempotency_records where place = 5";
    assert_eq!(connection.execute(remove, ()), Ok(1));
    let put = "
        insert into idempotency_records (place, id, fingerprint, token, attempt, expires_at, phase, outcome)
        select 5, ?1, fingerprint, token, attempt, expires_at, phase, outcome
        from idempotency_records where id = ?2
    ";
    let new = id(all().end);
    assert_eq!(
        connection.execute(put, [new.as_bytes(), id(9).as_bytes()]),
        Ok(1)
    );
    drop(connection);
    for store in [Some(store), None] {
        let store = store.unwrap_or_else(|| file.open());
        let replay = claim(&store, &hold(all().end)).await;
        assert!(
            matches!(&replay, Claim::Completed { outcome: found, .. } if *found == outcome(9)),
            "{replay:?}"
        );
    }
}

/// After a start too: the last round may have come beyond the last row that is left.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_record_that_the_application_adds_behind_the_last_one_is_found() {
    let file = File::new();
    complete(&file.open(), all()).await;
    assert!(file.change("delete from idempotency_records where place > 9") > 3 * ROUND);
    let store = file.open();
    assert_stored(&store, 0..9).await;
    let new = id(all().end);
    let add = move |connection: &Connection| {
        let add = "
            insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, outcome)
            select ?1, fingerprint, token, attempt, expires_at, phase, outcome
            from idempotency_records where place = 9
        ";
        connection.execute(add, [new.as_bytes()])?;
        Ok(connection.last_insert_rowid())
    };
    assert_eq!(store.database().write(add).await.ok(), Some(10));
    for store in [Some(store), None] {
        let store = store.unwrap_or_else(|| file.open());
        let replay = claim(&store, &hold(all().end)).await;
        assert!(
            matches!(&replay, Claim::Completed { outcome: found, .. } if *found == outcome(8)),
            "{replay:?}"
        );
    }
}

/// Otherwise each such refusal would read the places of all keys.
#[tokio::test]
async fn a_row_that_a_trigger_of_the_application_refuses_leaves_the_index_as_it_is() {
    let file = File::new();
    let store = file.open();
    let refuse = |connection: &Connection| {
        connection.execute_batch(
            "create trigger refuse after insert on idempotency_records
             begin select raise(abort, 'not today'); end",
        )
    };
    store.database().write(refuse).await.expect("a trigger");
    let (hold, asked) = (hold(1), asked());
    let request = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
    assert!(store.claim(request).await.is_err());
    assert!(!store.places.is_to_be_read());
    let allow = |connection: &Connection| connection.execute_batch("drop trigger refuse");
    store.database().write(allow).await.expect("no trigger");
    complete(&store, 0..3).await;
    assert_stored(&store, 0..3).await;
}

/// The places that the thread that writes has put back into the table are not yet committed.
// proves: damaged-record-frees-key
#[tokio::test]
async fn while_the_index_is_read_no_record_is_absent() {
    let file = File::new();
    let store = file.open();
    complete(&store, all()).await;
    assert!(file.change("delete from idempotency_places") > 0);
    let (go_on, gone_on) = mpsc::channel::<()>();
    let (started, running) = oneshot::channel();
    let database = store.database().clone();
    let waiting = tokio::spawn(async move {
        let wait = database.write(move |_| {
            started.send(()).expect("a test that waits");
            Ok(gone_on.recv().is_err())
        });
        wait.await
    });
    running.await.expect("the writer has read the index");
    let (one, request) = (id(1), ListRequest::new(9));
    let mut inspected = pin!(store.inspect(&one));
    let mut listed = pin!(store.list(&request));
    for _ in 0..64 {
        poll_fn(|context| {
            assert!(inspected.as_mut().poll(context).is_pending());
            assert!(listed.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        // Behind whatever the two have sent to the threads that read.
        let behind = store.database().look_up(|_| Ok(()));
        behind.await.expect("a look");
    }
    drop(go_on);
    assert_eq!(waiting.await.expect("no panic").ok(), Some(true));
    let found = inspected.await.expect("an inspection");
    assert!(found.is_some_and(|record| record.id == one));
    assert_eq!(listed.await.expect("a list").len(), 9);
}

// proves: store-says-what-is-wrong
#[tokio::test]
async fn places_without_records_and_records_without_places_are_reported() {
    let without_place = "delete from idempotency_places where place = 7";
    let without_record = "insert into idempotency_places values (x'0102030405060708', 900000)";
    for damage in [without_place, without_record] {
        let file = File::new();
        let store = file.open();
        complete(&store, all()).await;
        let intact = store.verify().await;
        assert_eq!(intact.verdict(), Verdict::Ok, "{intact:?}");
        assert_eq!(file.change(damage), 1);
        let found = store.verify().await;
        let mut findings = found.findings.iter();
        let index = findings.find(|finding| finding.check == "index");
        assert!(
            index.is_some_and(|index| index.verdict == Verdict::Problem),
            "{damage}: {found:?}"
        );
    }
}
