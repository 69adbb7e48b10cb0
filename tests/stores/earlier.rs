//! What earlier releases have stored, which this version reads.
//!
//! `earlier/VERSION` has a file for each store, with records in every phase, as that release left them. They expire ten years after
//! they were written. `UPDATE_EARLIER=1 cargo test -p tests --test stores earlier` writes those of the present version, once.

mod firestore;
mod place;
mod postgres;
mod redis;
mod service;
mod sqlite;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use idempotency::{
    Store,
    store::{Labels, ListRequest},
};
use rstest::rstest;
use tests::reply::Reply;
use tokio::runtime::Runtime;

use place::{Kind, Place};
use service::{CALLER, Service, Work};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Without a secret, and with this one.
const SECRETS: [Option<&str>; 2] = [None, Some("the secret of the records of releases")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stores/earlier")
}

/// Each release, and the folder with its records.
fn releases() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder()).expect("the folder of the releases");
    let folders = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir());
    let named = folders.map(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        (name.expect("a version").to_owned(), path)
    });
    named.collect()
}

// proves: earlier-records-read, other-version-is-error
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::Postgres)]
#[case::redis(Kind::Redis)]
#[case::firestore(Kind::Firestore)]
#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_release_are_replayed_taken_over_and_opened_and_nothing_runs_twice(
    #[case] kind: Kind,
) {
    let releases = releases();
    assert!(releases.iter().any(|(version, _)| version == "0.1.0"));
    for (version, folder) in releases {
        let Some(place) = Place::new(kind).await else {
            return;
        };
        let file = folder.join(kind.file());
        let records = fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        place.restore(&records).await;
        assert_read(&place, &version).await;
    }
}

/// The file of a release is written in the same way.
// proves: earlier-records-read, other-version-is-error
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::Postgres)]
#[case::redis(Kind::Redis)]
#[case::firestore(Kind::Firestore)]
#[tokio::test(flavor = "multi_thread")]
async fn records_that_this_version_leaves_are_read_like_those_of_a_release(#[case] kind: Kind) {
    let (Some(place), Some(other)) = (Place::new(kind).await, Place::new(kind).await) else {
        return;
    };
    leave_records(&place);
    let records = place.save().await;
    if env::var_os("UPDATE_EARLIER").is_some() {
        let folder = folder().join(VERSION);
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(kind.file());
        assert!(
            !file.exists(),
            "{file:?} is there, and what a release has stored never changes"
        );
        fs::write(file, &records).expect("a file");
    }
    other.restore(&records).await;
    assert_read(&other, VERSION).await;
}

/// Leaves a record of each kind, as a process of this version does that dies: with it, every run ends where it is.
fn leave_records(place: &Place) {
    thread::scope(|scope| {
        let process = scope.spawn(|| {
            let runtime = Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let store = place.open().await;
                for secret in SECRETS {
                    leave_records_of(&store, secret).await;
                }
            });
            // Every task ends where it is.
            drop(runtime);
        });
        process.join().expect("the records are left");
    });
}

async fn leave_records_of(store: &Arc<dyn Store>, secret: Option<&str>) {
    let service = Service::leaving(store, secret, VERSION).await;
    for work in [Work::Book, Work::BeErased, Work::KeepQuiet, Work::Rebuild] {
        service.send(work).await.assert_fresh(201);
    }
    service.erase(Work::BeErased).await;
    for work in [Work::Stop, Work::StopAfterStep] {
        service.begin(work).await;
    }
    for work in [Work::Fail, Work::FailAfterStep] {
        service.send(work).await.assert_fresh(503);
    }
}

/// Sends each request again, to two processes of this version in turn: nothing that has ended runs, and everything else once.
async fn assert_read(place: &Place, version: &str) {
    let store = place.open().await;
    let everything = ListRequest::new(100);
    let listed = store.list(&everything).await.expect("a list");
    // A key that was freed has no record to list.
    assert_eq!(listed.len(), SECRETS.len() * 7);
    for listed in listed {
        let labels = listed.record.expect("a record").labels;
        let is_erased = labels == Labels::new(Some("POST /jobs"), None);
        let of_caller = |route| labels == Labels::new(Some(route), Some(CALLER));
        assert!(
            is_erased || of_caller("POST /jobs") || of_caller("POST /rebuilt"),
            "{labels:?}"
        );
    }
    for secret in SECRETS {
        let service = Service::finishing(&store, secret, "this version").await;
        let booked = service.send(Work::Book).await;
        booked.assert_replay(201);
        assert_eq!(booked.body, Work::Book.body(1, version, version));
        assert_eq!(booked.header("location"), Some("/jobs/7"));
        let other = service.send_as(Work::Book, Work::Stop).await;
        other.assert_problem("idempotency_key_reused");
        let quiet = service.send(Work::KeepQuiet).await;
        quiet.assert_problem("idempotency_response_not_stored");
        assert_eq!(quiet.header("location"), Some("/jobs/7"));
        let rebuilt = service.send(Work::Rebuild).await;
        rebuilt.assert_replay(200);
        assert_eq!(rebuilt.text(), format!("shown to a retry: {version}"));
        let erased = service.send(Work::BeErased).await;
        erased.assert_problem("idempotency_response_erased");
        assert_eq!(service.runs(), 0);

        let mut ended = vec![(Work::Book, booked)];
        for (work, attempt, receipt) in [
            (Work::Stop, 2, "this version"),
            (Work::StopAfterStep, 2, version),
            (Work::Fail, 1, "this version"),
            (Work::FailAfterStep, 2, version),
        ] {
            let reply = service.send(work).await;
            reply.assert_fresh(201);
            assert_eq!(reply.body, work.body(attempt, "this version", receipt));
            ended.push((work, reply));
        }
        assert_eq!(service.runs(), 4);
        assert_eq!(service.receipts(), 0, "no step is done twice");
        assert_replayed(&store, secret, &ended).await;
    }
}

async fn assert_replayed(store: &Arc<dyn Store>, secret: Option<&str>, ended: &[(Work, Reply)]) {
    let elsewhere = Service::finishing(store, secret, "another process").await;
    for (work, reply) in ended {
        elsewhere.send(*work).await.assert_replays(reply);
    }
    assert_eq!(elsewhere.runs(), 0);
}
