//! The example `payment`: a charge at a provider over HTTP, and a row.

use axum::{body::Body, http::Request};
use idempotency::{
    Clock, SqliteStore,
    testing::{Report, Trial, interrupt_everywhere},
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    bookings,
    crash::Crash,
    provider::{self, Ledger},
};

fn trial(providers: &Runtime) -> Trial {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bookings.db");
    let ledger = Ledger::default();
    let (database, listener) = providers.block_on(async {
        let database = bookings::open(&file).await.unwrap();
        (database, TcpListener::bind("127.0.0.1:0").await.unwrap())
    });
    let provider = format!("http://{}", listener.local_addr().unwrap());
    providers.spawn(axum::serve(listener, provider::app(ledger.clone())).into_future());

    let clock = Clock::manual();
    let store = SqliteStore::new(database.clone()).unwrap();
    let store = store.with_clock(clock.clone());
    let reader = Connection::open(&file).unwrap();
    let effects = move || {
        let _folder = &folder;
        let count = "select count(*) from bookings";
        let rows: u32 = reader.query_row(count, [], |row| row.get(0)).unwrap();
        ledger.charges().len() + rows as usize
    };
    let app = move |store| bookings::app(database.clone(), store, provider.clone(), Crash::Nowhere);
    Trial::new(app, request, effects).with_store(store, clock)
}

fn request() -> Request<Body> {
    Request::post("/bookings")
        .header("Idempotency-Key", "\"1\"")
        .header("Content-Type", "application/json")
        .body(Body::from(r#"{"room":"12","euros":80}"#))
        .unwrap()
}

fn report() -> Report {
    // Of the features of all crates together, reqwest gets one that wants this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let providers = Runtime::new().unwrap();
    interrupt_everywhere(|| trial(&providers))
}

// proves: handler-interrupted-everywhere
#[test]
fn the_payment_example_charges_and_books_once_wherever_it_is_interrupted() {
    let report = report();
    report.assert_effects(2).assert_answered();
    for place in ["after claim", "before checkpoint", "after checkpoint"] {
        let mut trials = report.trials.iter();
        assert!(
            trials.any(|trial| trial.place == place),
            "{place}:\n{report}"
        );
    }
}
