//! A limit, of which each scope has a share.

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode, header},
    response::Response,
    routing::post,
};
use idempotency::{CommitError, Execution, Idempotency, idempotent, store::ScopeId};
use tower::ServiceExt;

use super::*;

const LIMIT: usize = 100_000;
const FLOOD: ScopeId = ScopeId::from_bytes([0xf1; 8]);
const OTHER: ScopeId = ScopeId::from_bytes([2; 8]);

fn limited(folder: &Folder) -> SqliteStore {
    let store = SqliteStore::open(folder.file()).expect("a store");
    store.with_limit_bytes(LIMIT)
}

fn of(scope: ScopeId) -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    {
        let mut hold = hold(0);
        hold.id = RecordId::from_bytes(id);
        hold
    }
    .with_scope(scope)
}

async fn take(store: &SqliteStore, scope: ScopeId) -> Result<Hold, StoreErrorKind> {
    let hold = of(scope);
    let claimed = claim(store, &hold, &asked()).await;
    claimed.map(|_| hold).map_err(|error| error.kind())
}

/// Takes keys until the scope is refused.
async fn flood(store: &SqliteStore, scope: ScopeId) -> Vec<Hold> {
    let mut taken = Vec::new();
    loop {
        match take(store, scope).await {
            Ok(hold) => taken.push(hold),
            Err(kind) => {
                assert_eq!(kind, StoreErrorKind::ScopeFull);
                return taken;
            }
        }
        assert!(taken.len() < LIMIT / 400, "a scope is refused in the end");
    }
}

async fn free(store: &SqliteStore, hold: &Hold) {
    assert_eq!(store.release(hold).await.ok(), Some(IfOwner::Done(())));
}

/// Until the file has been counted, no scope is refused; then this one is.
async fn until_refused(store: &SqliteStore, scope: ScopeId) {
    loop {
        match take(store, scope).await {
            Ok(hold) => free(store, &hold).await,
            Err(kind) => {
                assert_eq!(kind, StoreErrorKind::ScopeFull);
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}

// proves: full-store-forgets-none, scope-share-limited
#[tokio::test]
async fn a_scope_that_has_flooded_is_refused_after_a_restart_too() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let taken = flood(&limited(&folder).with_clock(clock.clone()), FLOOD).await;
    {
        let store = limited(&folder).with_clock(clock.clone());
        until_refused(&store, FLOOD).await;
        let outcome = Bytes::from_static(b"booked");
        let completed = store.complete(&taken[0], outcome.clone()).await;
        assert!(matches!(completed, Ok(IfOwner::Done(_))));
        let replay = claim(&store, &taken[0], &asked()).await;
        assert!(matches!(replay, Ok(Claim::Completed { outcome: kept, .. }) if kept == outcome));
        let others = flood(&store, OTHER).await;
        assert!(!others.is_empty());
        for other in &others {
            free(&store, other).await;
        }
        until_refused(&store, FLOOD).await;
        free(&store, &taken[1]).await;
        assert!(take(&store, FLOOD).await.is_ok());
        until_refused(&store, FLOOD).await;
    }
    let store = limited(&folder).with_clock(clock.clone());
    until_refused(&store, FLOOD).await;
    clock.advance(LEASE + TTL);
    store.purge_expired(usize::MAX).await.expect("a sweep");
    assert_eq!(flood(&store, FLOOD).await.len(), taken.len());
}

/// Fills a file with completed records of the flooding scope, each with an outcome of 100 bytes. This many of them have expired.
fn fill(folder: &Folder, records: u32, expired: u32) {
    drop(limited(folder));
    let connection = Connection::open(folder.file()).expect("a connection");
    let fill = "
        with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < ?1)
        insert into idempotency_records
            (id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, scope)
        select randomblob(32), randomblob(32), randomblob(16), 1,
            iif(n <= ?2, 0, 9000000000000), 2, null, zeroblob(100), ?3
        from numbers
    ";
    let scope = i64::from_be_bytes(*FLOOD.as_bytes());
    let filled = connection.execute(fill, (records, expired, scope));
    assert_eq!(filled.ok(), Some(records as usize));
}

/// However far the count has come: no record counts twice, and none is left out.
// proves: scope-share-limited
#[tokio::test]
async fn what_is_written_while_the_file_is_counted_counts_once() {
    const RECORDS: u32 = 20_000;
    const EXPIRED: u32 = 200;
    let folder = Folder::new();
    fill(&folder, RECORDS, EXPIRED);
    // They take more than eight times the remaining room, and some hundreds of other records still fit.
    let limit = RECORDS as usize * 500 + 100_000;
    let open = || {
        let store = SqliteStore::open(folder.file()).expect("a store");
        store.with_limit_bytes(limit)
    };
    let mut counted = Vec::new();
    let store = open();
    let mut kept = Vec::new();
    // The count continues meanwhile, or has ended: with each step once more.
    for number in 0..50 {
        let hold = take(&store, OTHER).await.expect("room");
        match number % 3 {
            0 => free(&store, &hold).await,
            1 => {
                let left = Bytes::from(vec![0; 100]);
                let completed = store.complete(&hold, left).await;
                assert!(matches!(completed, Ok(IfOwner::Done(_))));
                kept.push(hold);
            }
            _ => kept.push(hold),
        }
        let purged = store.purge_expired(EXPIRED as usize / 50).await;
        assert_eq!(purged.ok(), Some(EXPIRED as usize / 50));
    }
    until_refused(&store, FLOOD).await;
    let third = ScopeId::from_bytes([3; 8]);
    counted.push(flood_freely(&store, third).await);
    drop(store);
    let store = open();
    until_refused(&store, FLOOD).await;
    counted.push(flood_freely(&store, third).await);
    assert_eq!(counted[0], counted[1]);
    assert!(counted[0] > 100, "{counted:?}");
}

/// How many keys the scope can claim. They are released again.
async fn flood_freely(store: &SqliteStore, scope: ScopeId) -> usize {
    let mut taken = Vec::new();
    while let Ok(hold) = take(store, scope).await {
        taken.push(hold);
    }
    for hold in &taken {
        free(store, hold).await;
    }
    taken.len()
}

/// They have no scope, so they count against none.
// proves: full-store-forgets-none, scope-share-limited
#[tokio::test]
async fn records_of_an_earlier_version_count_for_the_limit() {
    let folder = Folder::new();
    fill(&folder, 200, 0);
    drop(earlier_file(&folder.file(), &["scope"]));
    // 200 records of 500 bytes take all the room.
    let store = limited(&folder);
    let kind = loop {
        match take(&store, FLOOD).await {
            Ok(hold) => free(&store, &hold).await,
            Err(kind) => break kind,
        }
    };
    assert_eq!(kind, StoreErrorKind::Full);
    let roomier = store.with_limit_bytes(LIMIT * 2);
    assert!(take(&roomier, FLOOD).await.is_ok());
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn book_once(
    State(database): State<SqliteDatabase>,
    execution: Execution,
    customer: String,
) -> Result<Response, CommitError> {
    let insert = database.transaction(move |connection| {
        book(connection, &customer)?;
        if customer.starts_with("nobody") {
            Err(rusqlite::Error::InvalidQuery)
        } else {
            Ok(())
        }
    });
    execution.commit(insert, StatusCode::CREATED).await
}

// proves: scope-share-limited
#[tokio::test]
async fn transactional_runs_of_a_scope_that_floods_are_refused_and_write_nothing() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let store = SqliteStore::new(database.clone()).expect("a store");
    let service = Router::new()
        .route("/", post(book_once))
        .layer(Extension(Idempotency::new(store.with_limit_bytes(LIMIT))))
        .with_state(database.clone());
    let send = async |customer: String, tenant: Option<&str>| {
        let mut request = Request::post("/").header("idempotency-key", &customer);
        if let Some(tenant) = tenant {
            request = request.header("authorization", format!("Bearer {tenant}"));
        }
        let request = request.body(Body::from(customer)).expect("a request");
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    // Writes that were rolled back take no room.
    for number in 0..LIMIT / 400 {
        let failed = send(format!("nobody-{number}"), None).await;
        assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut taken = 0;
    let refused = loop {
        let response = send(format!("guest-{taken}"), None).await;
        if response.status() != StatusCode::CREATED {
            break response;
        }
        taken += 1;
        assert!(taken < LIMIT / 400, "a scope is refused in the end");
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "30");
    assert!(taken > 50, "{taken}");
    let replay = send("guest-0".into(), None).await;
    assert_eq!(replay.headers()["idempotent-replayed"], "true");
    let other = send("Ann".into(), Some("ann")).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    let booked = database.read(booked).await.expect("a read");
    assert_eq!(booked.len(), taken + 1);
}
