//! A file that another program has locked, work that damages its connection, and callers that leave.

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Request, StatusCode},
    response::Response,
    routing::post,
};
use futures_util::future::join_all;
use idempotency::{CommitError, Execution, Idempotency, idempotent};
use tower::ServiceExt;

use super::*;

/// Another program that writes to the file until it is dropped.
fn lock(folder: &Folder) -> Connection {
    let tool = Connection::open(folder.file()).expect("a connection");
    tool.busy_timeout(Duration::from_secs(30))
        .expect("patience");
    tool.execute_batch("begin immediate").expect("the lock");
    tool
}

// proves: deaf-store-left-quickly, one-key-takes-pool
#[tokio::test]
async fn under_a_foreign_lock_all_that_wait_are_refused_together() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let database = store.database();
    let create = "create table bookings (customer text not null unique) strict";
    let created = database.write(move |connection| connection.execute(create, ()));
    created.await.expect("a table");
    let tool = lock(&folder);
    let mut writes: Vec<_> = (0..8)
        .map(|number| {
            Box::pin(database.write(move |connection| book(connection, &number.to_string())))
        })
        .collect();
    for write in &mut writes {
        begin(write.as_mut()).await;
    }
    let owner = hold(1);
    let fingerprint = asked();
    let mut claiming = Box::pin(claim(&store, &owner, &fingerprint));
    begin(claiming.as_mut()).await;
    let mut refusals = vec![writes.remove(0).await];
    // If the others waited one after another, they would find the file free.
    drop(tool);
    refusals.extend(join_all(writes).await);
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(SqliteStoreError::RolledBack(_))),
            "{refusal:?}"
        );
    }
    let refused = claiming.await.expect_err("the file was locked");
    assert!(!refused.was_sent(), "there is nothing to withdraw");
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);

    // Nothing of it was stored, and the store recovers by itself.
    assert!(database.read(booked).await.expect("a read").is_empty());
    let write = database.write(|connection| book(connection, "Ann"));
    write.await.expect("the file is free again");
    assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
}

#[idempotent(transactional)]
pub(crate) async fn book_once(
    State(database): State<SqliteDatabase>,
    execution: Execution,
    customer: String,
) -> Result<Response, CommitError> {
    let insert = database.transaction(move |connection| book(connection, &customer));
    execution.commit(insert, StatusCode::CREATED).await
}

pub(crate) async fn send(service: &Router, key: &str, body: String) -> (StatusCode, String) {
    let request = Request::post("/")
        .header("Idempotency-Key", key)
        .body(Body::from(body));
    let request = request.expect("a request");
    let Ok(response) = service.clone().oneshot(request).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await;
    let body = body.expect("a body").to_vec();
    (status, String::from_utf8(body).expect("text"))
}

// proves: deaf-store-left-quickly, one-key-takes-pool
#[tokio::test]
async fn a_client_is_told_that_nothing_was_done_while_the_file_is_locked_or_full() {
    for is_full in [false, true] {
        let folder = Folder::new();
        let database = with_bookings(&folder.file()).await;
        let store = SqliteStore::new(database.clone()).expect("a store");
        let service = Router::new()
            .route("/", post(book_once))
            .layer(Extension(Idempotency::new(store.clone())))
            .with_state(database.clone());
        // Each is larger than the room in the pages of a full file.
        let (status, _) = send(&service, "before", "before".repeat(1000)).await;
        assert_eq!(status, StatusCode::CREATED);

        let tool = (!is_full).then(|| lock(&folder));
        if is_full {
            let heap = database
                .write(|connection| connection.execute_batch("create table heap (bytes blob)"));
            heap.await.expect("a table");
            set_room(&database, 0).await;
            fill(&database).await;
        }
        let keys: Vec<_> = (0..8).map(|number| format!("key-{number}")).collect();
        let requests = keys.iter().map(|key| send(&service, key, key.repeat(1000)));
        for (status, body) in join_all(requests).await {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            assert!(body.contains("commit_failed"), "{body}");
        }
        assert_eq!(database.read(booked).await.expect("a read").len(), 1);

        drop(tool);
        if is_full {
            set_room(&database, 1000).await;
        }
        for key in &keys {
            let (status, body) = send(&service, key, key.repeat(1000)).await;
            assert_eq!(status, StatusCode::CREATED, "{body}");
        }
        assert_eq!(database.read(booked).await.expect("a read").len(), 9);
    }
}

/// Lets the file grow by this many pages.
async fn set_room(database: &SqliteDatabase, room: i64) {
    let set = database.write(move |connection| {
        let pages: i64 = connection.query_row("pragma page_count", (), |row| row.get(0))?;
        let limit = format!("pragma max_page_count = {}", pages + room);
        connection.query_row(&limit, (), |row| row.get::<_, i64>(0))
    });
    set.await.expect("a limit");
}

/// Fills the room that is left in the existing pages.
async fn fill(database: &SqliteDatabase) {
    for size in [4000, 400, 40] {
        let mut is_full = false;
        while !is_full {
            let fill = database.write(move |connection| {
                connection.execute("insert into heap values (zeroblob(?1))", [size])
            });
            is_full = fill.await.is_err();
        }
    }
}

/// A value that panics where it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_drop_that_panics_ends_no_thread() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    // More often than there are threads.
    for _ in 0..8 {
        let go_on = hold_up(&database).await;
        // No caller takes the value, so the thread drops it.
        begin(pin!(database.write(|_| Ok(Trap)))).await;
        begin(pin!(database.write::<()>(|_| std::panic::panic_any(Trap)))).await;
        drop(go_on);
        let (go_on, gone_on) = mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let mut read = Box::pin(database.read(move |_| {
            started.send(()).expect("a test that waits");
            let _ = gone_on.recv();
            Ok(Trap)
        }));
        begin(read.as_mut()).await;
        running.await.expect("a thread runs it");
        drop(read);
        drop(go_on);
    }
    database
        .write(|connection| book(connection, "Ann"))
        .await
        .expect("a write");
    for _ in 0..8 {
        assert_eq!(database.read(booked).await.expect("a read"), ["Ann"]);
    }
}

#[tokio::test]
async fn work_cannot_change_how_the_connection_works_for_others() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let other = folder.0.path().join("other.db");
    let attach = format!("attach '{}' as other", other.display());
    for statement in [
        "pragma query_only = on",
        "pragma main.Query_Only(1)",
        "pragma locking_mode = exclusive",
        "pragma synchronous = off",
        "pragma writable_schema = on",
        "pragma defer_foreign_keys = on",
        "pragma busy_timeout = 60000",
        "pragma fullfsync = off",
        "pragma hard_heap_limit = 1",
        &attach,
    ] {
        let statement = statement.to_owned();
        let refused = database.write(move |connection| connection.execute_batch(&statement));
        let refused = refused.await.expect_err("it is not allowed");
        assert!(matches!(refused, SqliteStoreError::Work(_)), "{refused:?}");
    }
    // The file's own settings belong to the application.
    let set = database.write(|connection| {
        connection.execute_batch("pragma user_version = 7")?;
        connection.query_row("pragma query_only", (), |row| row.get::<_, i64>(0))
    });
    assert_eq!(set.await.ok(), Some(0));
    database
        .write(|connection| book(connection, "Ann"))
        .await
        .expect("a write");
}

#[tokio::test]
async fn of_the_work_after_a_broken_foreign_key_only_its_owner_fails() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let create = database.write(|connection| {
        connection.execute_batch(
            "create table seats (customer text references bookings (customer) deferrable initially deferred)",
        )
    });
    create.await.expect("a table");
    let orphan = |connection: &Connection| {
        connection
            .execute("insert into seats values ('nobody')", ())
            .map(drop)
    };
    for round in 0..2 {
        let go_on = hold_up(&database).await;
        let mut before =
            pin!(database.write(move |connection| book(connection, &format!("Ann {round}"))));
        let mut guilty = pin!(database.write(orphan));
        let mut after =
            pin!(database.write(move |connection| book(connection, &format!("Bob {round}"))));
        begin(before.as_mut()).await;
        begin(guilty.as_mut()).await;
        begin(after.as_mut()).await;
        drop(go_on);
        let guilty = guilty.await;
        assert!(
            matches!(guilty, Err(SqliteStoreError::RolledBack(_))),
            "{guilty:?}"
        );
        for innocent in [before.await, after.await] {
            match round {
                // Which write it was is unknown, and none of the others was stored.
                0 => assert!(
                    matches!(innocent, Err(SqliteStoreError::RolledBack(_))),
                    "{innocent:?}"
                ),
                _ => assert!(innocent.is_ok(), "{innocent:?}"),
            }
        }
    }
    assert_eq!(
        database.read(booked).await.expect("a read"),
        ["Ann 1", "Bob 1"]
    );
}

#[tokio::test]
async fn a_read_whose_caller_has_left_is_not_done_and_holds_up_no_look_up() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let database = store.database();
    claim(&store, &hold(1), &asked()).await.expect("a claim");
    // Each thread that reads for the application is busy.
    let (done, runs) = mpsc::channel::<()>();
    let mut gates = Vec::new();
    let mut busy = Vec::new();
    for _ in 0..2 {
        let (go_on, gone_on) = mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        gates.push(go_on);
        let mut read = Box::pin(database.read(move |_| {
            started.send(()).expect("a test that waits");
            let _ = gone_on.recv();
            Ok(())
        }));
        begin(read.as_mut()).await;
        running.await.expect("a thread runs it");
        busy.push(read);
    }
    for _ in 0..1000 {
        let done = done.clone();
        let read = database.read(move |_| Ok(done.send(()).is_ok()));
        begin(pin!(read)).await;
    }
    // A retry gets its response meanwhile.
    let fingerprint = asked();
    let duplicate = claim(&store, &hold(1), &asked()).await;
    assert_eq!(duplicate.ok(), Some(Claim::in_flight(fingerprint)));
    assert!(store.inspect(&hold(1).id).await.expect("a read").is_some());

    gates.clear();
    for read in busy {
        read.await.expect("a read");
    }
    // Later calls are carried out later.
    database.read(|_| Ok(())).await.expect("a read");
    assert_eq!(runs.try_iter().count(), 0, "no caller waits for them");
}

#[tokio::test]
async fn a_flood_of_reads_is_refused_in_the_end() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let (go_on, gone_on) = mpsc::channel::<()>();
    let gone_on = std::sync::Arc::new(std::sync::Mutex::new(gone_on));
    let mut reads = Vec::new();
    let refused = loop {
        let gone_on = std::sync::Arc::clone(&gone_on);
        let mut read = Box::pin(database.read(move |_| {
            let gone_on = gone_on.lock().expect("a lock");
            Ok(gone_on.recv().is_err())
        }));
        match poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
            Poll::Ready(refused) => break refused,
            Poll::Pending => reads.push(read),
        }
        assert!(reads.len() < 100_000, "there is a limit");
    };
    assert!(
        matches!(refused, Err(SqliteStoreError::Overloaded)),
        "{refused:?}"
    );
    drop(go_on);
    for read in reads {
        assert_eq!(read.await.ok(), Some(true));
    }
    assert!(database.read(booked).await.is_ok());
}

#[tokio::test]
async fn a_flood_of_writes_is_refused_in_the_end_and_leaves_nothing_to_withdraw() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let store = SqliteStore::new(database.clone()).expect("a store");
    let owner = hold(2);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let go_on = hold_up(&database).await;
    let mut writes = Vec::new();
    let refused = loop {
        let mut write = Box::pin(database.write(|_| Ok(())));
        match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(refused) => break refused,
            Poll::Pending => writes.push(write),
        }
        assert!(writes.len() < 100_000, "there is a limit");
    };
    assert!(
        matches!(refused, Err(SqliteStoreError::Overloaded)),
        "{refused:?}"
    );
    let refused = claim(&store, &hold(1), &asked()).await;
    let refused = refused.expect_err("there is no room");
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert!(!refused.was_sent());
    // A run that has begun still ends.
    let mut ends = pin!(store.complete(&owner, Bytes::from_static(b"booked")));
    begin(ends.as_mut()).await;
    drop(go_on);
    assert!(matches!(ends.await, Ok(IfOwner::Done(_))));
    for write in writes {
        assert_eq!(write.await.ok(), Some(()));
    }
    assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
}
