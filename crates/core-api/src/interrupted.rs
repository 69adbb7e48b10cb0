//! Each write of bookings, interrupted everywhere.

use std::sync::Arc;

use axum::body::Body;
use clap::Parser;
use http::{Method, Request};
use idempotency::{
    Clock,
    testing::{Interrupted, Interruption, Report, Trial, TrialStore, interrupt_everywhere},
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    app::App,
    config::Config,
    database, keys,
    keys::UnderWay,
    probe::Probe,
    router::{Access, router},
};

const ID: &str = "0198a1c8-0000-7000-8000-000000000000";

/// One booking, and a row for each write of a booking from now on.
const COUNT_WRITES: &str = "
insert into bookings values ('0198a1c8-0000-7000-8000-000000000000', 's1', 'Ann', '2026-12-01', '10:00', 'confirmed', 0, null);
create table writes (id integer primary key);
create trigger insertion after insert on bookings begin insert into writes values (null); end;
create trigger update_of after update on bookings begin insert into writes values (null); end;
create trigger deletion after delete on bookings begin insert into writes values (null); end;
";

/// The service on a new file, and a request to it.
fn trial(databases: &Runtime, method: &Method, path: &str, body: &'static str) -> Trial {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bookings.db");
    let url = format!("sqlite:{}", file.display());
    let config = Config::try_parse_from(["core-api", "--database", &url]).unwrap();
    let opened = databases.block_on(database::open(&config));
    let opened = opened.unwrap_or_else(|_| panic!("the file is not opened"));
    assert!(opened.transactional);
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(COUNT_WRITES).unwrap();

    let store = Arc::clone(&opened.store);
    let app = move |store: TrialStore| {
        let app = App {
            bookings: Arc::clone(&opened.bookings),
            idempotency: keys::engine(Arc::new(store), &opened.secrets).build(),
            transactional: opened.transactional,
            tokens: None,
            fault_injection: false,
            supervised: None,
            bookings_survive: true,
            keys_survive: true,
            probe: Probe::default(),
            changes: UnderWay::default(),
        };
        router(app, &Access::Open, 1024 * 1024)
    };
    let (method, path) = (method.clone(), path.to_owned());
    let request = move || {
        Request::builder()
            .method(&method)
            .uri(&path)
            .header("Idempotency-Key", "\"1\"")
            .header("Content-Type", "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    let writes = move || {
        let _folder = &folder;
        let count = "select count(*) from writes";
        let count: u32 = connection.query_row(count, [], |row| row.get(0)).unwrap();
        count as usize
    };
    // A transactional handler holds no lease, so the clock does not matter.
    Trial::new(app, request, writes).with_store(store, Clock::manual())
}

fn is_done_once_wherever_it_is_interrupted(method: &Method, path: &str, body: &'static str) {
    let databases = Runtime::new().unwrap();
    // A commit that is over at once is not awaited, and then no interruption meets it.
    for _ in 0..20 {
        let report = interrupt_everywhere(|| trial(&databases, method, path, body));
        report.assert_effects(1).assert_answered();
        if meets_all(&report) {
            return;
        }
    }
    panic!("some interruption has met nothing");
}

fn meets_all(report: &Report) -> bool {
    let interruptions = [
        Interruption::Crash,
        Interruption::Disconnect,
        Interruption::StoreUnreached,
        Interruption::ReplyLost,
    ];
    interruptions.into_iter().all(|interruption| {
        // Crashes and disconnections meet the handler and its commit.
        let place = match interruption {
            Interruption::Crash | Interruption::Disconnect => "an await later than",
            _ => "",
        };
        let is_it = |trial: &&Interrupted| trial.interruption == interruption;
        let mut trials = report.trials.iter().filter(is_it);
        trials.any(|trial| trial.place.starts_with(place))
    })
}

const BOOKING: &str =
    r#"{"service_id":"s2","customer_name":"Bob","date":"2026-12-02","time":"11:00"}"#;

// proves: handler-interrupted-everywhere
#[test]
fn a_booking_is_made_once_wherever_the_request_is_interrupted() {
    is_done_once_wherever_it_is_interrupted(&Method::POST, "/bookings", BOOKING);
}

// proves: handler-interrupted-everywhere
#[test]
fn a_booking_is_replaced_changed_and_removed_once_wherever_the_request_is_interrupted() {
    let path = format!("/bookings/{ID}");
    is_done_once_wherever_it_is_interrupted(&Method::PUT, &path, BOOKING);
    let change = r#"{"customer_name":"Eve"}"#;
    is_done_once_wherever_it_is_interrupted(&Method::PATCH, &path, change);
    is_done_once_wherever_it_is_interrupted(&Method::DELETE, &path, "");
}
