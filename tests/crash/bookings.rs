//! The contents of the databases, read without the services.

use std::{collections::HashMap, path::Path};

use idempotency::{
    FirestoreStore, Store,
    store::{ListRequest, Phase},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, Row, raw_sql};

/// How many bookings each name has.
pub(crate) type Bookings = HashMap<String, usize>;

const NAMES: &str = "select customer_name from bookings";

const IN_FLIGHT: &str = "select count(*) from idempotency_records where phase <> 2";

/// The bookings in a file, and how many runs have not ended.
pub(crate) fn in_sqlite(path: &Path) -> (Bookings, usize) {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let file = file.expect("a database");
    let mut names = file.prepare(NAMES).expect("a table");
    let names = names.query_map((), |row| row.get(0)).expect("names");
    let bookings = count(names.map(|name| name.expect("a name")));
    let in_flight = file.query_row(IN_FLIGHT, (), |row| row.get::<_, i64>(0));
    let in_flight = in_flight.expect("a number");
    (bookings, in_flight.try_into().expect("a count"))
}

/// The same for a database on a server.
pub(crate) async fn in_postgres(url: &str) -> (Bookings, usize) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let names = raw_sql(NAMES).fetch_all(&mut connection).await;
    let bookings = count(names.expect("names").iter().map(|row| row.get(0)));
    let in_flight = raw_sql(IN_FLIGHT).fetch_one(&mut connection).await;
    let in_flight: i64 = in_flight.expect("a number").get(0);
    (bookings, in_flight.try_into().expect("a count"))
}

/// The same for a project.
pub(crate) async fn in_firestore(emulator: &str, project: &str) -> (Bookings, usize) {
    let store = FirestoreStore::connect_to_emulator(project, emulator);
    let store = store.await.expect("a store");
    let (mut in_flight, mut last) = (0, None);
    loop {
        let mut request = ListRequest::new(300);
        request.after = last;
        let page = store.list(&request).await.expect("records");
        last = page.last().map(|listed| listed.id);
        for listed in page {
            let record = listed.record.expect("a record");
            in_flight += usize::from(matches!(record.phase, Phase::InFlight { .. }));
        }
        if last.is_none() {
            break;
        }
    }
    let names = names_in_firestore(emulator, project).await;
    (count(names.into_iter()), in_flight)
}

async fn names_in_firestore(emulator: &str, project: &str) -> Vec<String> {
    let url = format!(
        "http://{emulator}/v1/projects/{project}/databases/(default)/documents/bookings?pageSize=300"
    );
    let (client, mut names, mut token) = (reqwest::Client::new(), Vec::new(), String::new());
    loop {
        let page = client.get(format!("{url}&pageToken={token}")).send().await;
        let page = page.expect("the emulator").bytes().await.expect("a page");
        let page: Value = serde_json::from_slice(&page).expect("documents");
        let documents = page["documents"].as_array().into_iter().flatten();
        names.extend(documents.map(|document| {
            let name = &document["fields"]["customer_name"]["stringValue"];
            name.as_str().expect("a name").to_owned()
        }));
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return names,
        }
    }
}

fn count(names: impl Iterator<Item = String>) -> Bookings {
    let mut bookings = Bookings::new();
    for name in names {
        *bookings.entry(name).or_default() += 1;
    }
    bookings
}
