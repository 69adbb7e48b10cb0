//! The application's documents, as transactions write them.

use std::{collections::HashMap, time::SystemTime};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    response::Response,
    routing::post,
};
use gcloud_sdk::google::firestore::v1::{ArrayValue, Document, MapValue, Value, value::ValueType};
use idempotency::{
    CommitError, Execution, FirestoreDatabase, FirestoreStore, Idempotency, idempotent,
    log_text::Causes,
    store::{FirestoreConflict, FirestorePrecondition, FirestoreTransaction},
};
use serde_json::{Value as Json, json};
use tests::servers::firestore::{Documents, FirestoreEmulator};
use tower::ServiceExt;

use super::unused_project;

/// A project for this test, or `None` where there is no emulator.
async fn project() -> Option<(FirestoreDatabase, Documents)> {
    let emulator = FirestoreEmulator::shared()?;
    let project = unused_project();
    let database = FirestoreDatabase::connect_to_emulator(&project, &emulator.address()).await;
    let documents = Documents::new(&emulator.address(), &project);
    Some((database.expect("a database"), documents))
}

/// Commits without a key.
async fn commit(transaction: FirestoreTransaction) -> Result<(), CommitError> {
    let committed = Execution::unprotected().commit(transaction, ()).await;
    committed.map(drop)
}

/// The only document of a collection.
async fn only(documents: &Documents, collection: &str) -> Document {
    let mut found = documents.of(collection).await;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn value(value: ValueType) -> Value {
    Value {
        value_type: Some(value),
    }
}

fn fields<const FIELDS: usize>(fields: [(&str, ValueType); FIELDS]) -> HashMap<String, Value> {
    let fields = fields.into_iter();
    fields
        .map(|(name, field)| (name.to_owned(), value(field)))
        .collect()
}

fn text(text: &str) -> ValueType {
    ValueType::StringValue(text.into())
}

fn is_a_conflict(committed: &Result<(), CommitError>) -> bool {
    matches!(committed, Err(CommitError::Failed(why)) if why.is::<FirestoreConflict>())
}

/// Errors end up in logs, and Firestore's own messages name documents and repeat their contents.
fn assert_no_payload(committed: &Result<(), CommitError>) {
    let error = committed.as_ref().expect_err("a commit that fails");
    let said = format!("{} {committed:?}", Causes(error));
    for payload in ["bookings", "Ann", "Eve"] {
        assert!(!said.contains(payload), "{said}");
    }
}

#[tokio::test]
async fn a_document_is_what_serde_makes_of_a_value() {
    let Some((database, documents)) = project().await else {
        return;
    };
    let booking = json!({
        "nothing": null,
        "paid": true,
        "least": i64::MIN,
        "most": i64::MAX,
        "price": 12.5,
        "whole": 12.0,
        "guest": "Ann Özil 🛎",
        "nights": [1, "two", { "three": 3 }],
        "room": { "number": 21, "view": { "sea": true } },
        "a.b `c` \\": 1,
    });
    let create = database.transaction();
    let create = create.create("bookings", "Ann Özil.1", &booking);
    commit(create).await.expect("a booking");

    let number = ValueType::IntegerValue;
    let map = |fields| ValueType::MapValue(MapValue { fields });
    let view = map(fields([("sea", ValueType::BooleanValue(true))]));
    let nights = [number(1), text("two"), map(fields([("three", number(3))]))];
    let expected = fields([
        ("nothing", ValueType::NullValue(0)),
        ("paid", ValueType::BooleanValue(true)),
        ("least", number(i64::MIN)),
        ("most", number(i64::MAX)),
        ("price", ValueType::DoubleValue(12.5)),
        ("whole", ValueType::DoubleValue(12.0)),
        ("guest", text("Ann Özil 🛎")),
        (
            "nights",
            ValueType::ArrayValue(ArrayValue {
                values: nights.map(value).into(),
            }),
        ),
        (
            "room",
            map(fields([("number", number(21)), ("view", view)])),
        ),
        ("a.b `c` \\", number(1)),
    ]);
    let found = only(&documents, "bookings").await;
    assert!(found.name.ends_with("/bookings/Ann Özil.1"), "{found:?}");
    assert_eq!(found.fields, expected);
}

#[tokio::test]
async fn an_update_changes_its_fields_and_leaves_the_others() {
    let Some((database, documents)) = project().await else {
        return;
    };
    let before = json!({ "guest": "Ann", "a.b `c` \\": 1, "room": { "number": 21, "sea": true } });
    let create = database.transaction();
    let create = create.create("hotels/ritz/bookings", "7", &before);
    // A document below another, and one of the same id next to it.
    commit(create.create("bookings", "7", &before))
        .await
        .expect("two bookings");

    let update = |changes: Json| {
        let update = database.transaction();
        commit(update.update("bookings", "7", &changes, FirestorePrecondition::Exists))
    };
    let changes = json!({ "a.b `c` \\": 2, "room": { "number": 22 }, "nights": 3 });
    update(changes).await.expect("an update");
    // A write that changes nothing.
    update(json!({})).await.expect("an update");
    let room = fields([("number", ValueType::IntegerValue(22))]);
    let expected = fields([
        ("guest", text("Ann")),
        ("a.b `c` \\", ValueType::IntegerValue(2)),
        ("room", ValueType::MapValue(MapValue { fields: room })),
        ("nights", ValueType::IntegerValue(3)),
    ]);
    assert_eq!(only(&documents, "bookings").await.fields, expected);
}

#[tokio::test]
async fn a_document_that_is_not_as_expected_undoes_all_writes() {
    let Some((database, documents)) = project().await else {
        return;
    };
    let booking = json!({ "guest": "Ann" });
    let begin = || database.transaction().create("bookings", "8", &booking);
    let create = database.transaction().create("bookings", "7", &booking);
    commit(create).await.expect("a booking");
    let read = only(&documents, "bookings").await.update_time;
    let read = SystemTime::try_from(read.expect("a time")).expect("a time");
    let unchanged = FirestorePrecondition::UnchangedSince(read);

    let exists = FirestorePrecondition::Exists;
    for (why, conflicting) in [
        ("it is there", begin().create("bookings", "7", &booking)),
        (
            "it is not",
            begin().update("bookings", "9", &booking, exists),
        ),
        (
            "it is not",
            begin().update("bookings", "9", &booking, unchanged),
        ),
        ("it is not", begin().delete("bookings", "9", exists)),
    ] {
        let committed = commit(conflicting).await;
        assert!(is_a_conflict(&committed), "{why}: {committed:?}");
        assert_no_payload(&committed);
        only(&documents, "bookings").await;
    }

    // Read and written: this works once, because the document then has a new version.
    let change = |guest: &str| {
        let update = database.transaction();
        update.update("bookings", "7", &json!({ "guest": guest }), unchanged)
    };
    commit(change("Ben")).await.expect("a change");
    let committed = commit(change("Eve")).await;
    assert!(is_a_conflict(&committed), "{committed:?}");
    let committed = commit(begin().delete("bookings", "7", unchanged)).await;
    assert!(is_a_conflict(&committed), "{committed:?}");
    let found = only(&documents, "bookings").await;
    assert_eq!(found.fields, fields([("guest", text("Ben"))]));
    commit(database.transaction().delete("bookings", "7", exists))
        .await
        .expect("a removal");
    assert!(documents.of("bookings").await.is_empty());
}

#[tokio::test]
async fn what_firestore_cannot_name_or_hold_is_not_sent() {
    let Some((database, documents)) = project().await else {
        return;
    };
    let long = "x".repeat(1501);
    let names = [
        ("", "7"),
        ("bookings", ""),
        ("bookings", "a/b"),
        ("bookings", "a/b/c"),
        ("bookings", "/"),
        ("bookings", "."),
        ("bookings", ".."),
        ("bookings", "__7__"),
        ("bookings", long.as_str()),
        ("bookings/", "7"),
        ("/bookings", "7"),
        ("hotels/ritz", "7"),
        ("hotels//bookings", "7"),
        ("hotels/../bookings", "7"),
        ("__bookings__", "7"),
    ];
    let is_failed = |committed: &_| matches!(committed, Err(CommitError::Failed(_)));
    for (collection, id) in names {
        let create = database.transaction();
        let create = create.create("bookings", "good", &json!({}));
        let committed = commit(create.create(collection, id, &json!({}))).await;
        assert!(is_failed(&committed), "{collection}, {id}: {committed:?}");
    }
    let values = [
        json!({ "number": u64::MAX }),
        json!({ "deep": [{ "number": i64::MAX as u64 + 1 }] }),
        json!("a text"),
        json!([1]),
        json!(null),
    ];
    for value in values {
        let create = database.transaction();
        let create = create.create("bookings", "good", &json!({}));
        let committed = commit(create.create("bookings", "bad", &value)).await;
        assert!(is_failed(&committed), "{value}: {committed:?}");
    }
    assert!(documents.of("bookings").await.is_empty());
    let create = database.transaction();
    commit(create.create("bookings", &long[1..], &json!({})))
        .await
        .expect("a booking");
}

/// Gives the guest the first free room.
async fn find_a_room(
    database: &FirestoreDatabase,
    execution: &Execution,
    guest: &str,
) -> Result<Response, CommitError> {
    for room in ["21", "22"] {
        let create = database.transaction();
        let create = create.create("rooms", room, &json!({ "guest": guest }));
        let reply = (StatusCode::CREATED, format!("room {room}"));
        match execution.commit(create, reply).await {
            Err(CommitError::Failed(why)) if why.is::<FirestoreConflict>() => {}
            end => return end,
        }
    }
    unreachable!("there are rooms enough")
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn book(
    State(database): State<FirestoreDatabase>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    find_a_room(&database, &execution, &guest).await
}

#[idempotent(ttl_seconds = 3600)]
async fn book_under_a_lease(
    State(database): State<FirestoreDatabase>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    find_a_room(&database, &execution, &guest).await
}

/// A conflict on the handler's own documents differs from one on the key's record, and leaves no record.
// proves: rows-and-key-commit-together, lost-claim-as-outage
#[tokio::test]
async fn a_handler_that_hears_of_a_conflict_may_commit_something_else() {
    for path in ["/book", "/leased"] {
        let Some((database, documents)) = project().await else {
            return;
        };
        let idempotency = Idempotency::new(FirestoreStore::new(database.clone()));
        let app = Router::new()
            .route("/book", post(book))
            .route("/leased", post(book_under_a_lease))
            .with_state(database)
            .layer(Extension(idempotency));
        for (key, guest, room) in [
            ("k", "Ann", "room 21"),
            ("k2", "Ben", "room 22"),
            ("k", "Ann", "room 21"),
            ("k2", "Ben", "room 22"),
        ] {
            let request = Request::post(path).header("idempotency-key", key);
            let request = request.body(Body::from(guest)).expect("a request");
            let reply = app.clone().oneshot(request).await.expect("a response");
            assert_eq!(reply.status(), 201);
            let body = axum::body::to_bytes(reply.into_body(), 100).await;
            assert_eq!(body.expect("a body"), room);
        }
        assert_eq!(documents.of("rooms").await.len(), 2);
        assert_eq!(documents.all().await.len(), 2);
    }
}
