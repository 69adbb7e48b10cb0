//! Processes of `core-api` that share one Firestore.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{reply::Reply, servers::firestore::FirestoreEmulator};

use super::unused_project;
use crate::service::Service;

/// Two processes whose bookings are in a project for this test.
fn two_processes(emulator: &FirestoreEmulator) -> [Service; 2] {
    let (url, address) = (
        format!("firestore://{}", unused_project()),
        emulator.address(),
    );
    let variables = [("FIRESTORE_EMULATOR_HOST", address.as_str())];
    [(); 2].map(|()| Service::start_with(&["--database", &url], &variables))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bookings_in_firestore_are_listed_changed_and_removed_by_every_process() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let [one, other] = two_processes(emulator);
    let mut ids = Vec::new();
    for key in ["ann-1", "ann-2", "ann-3"] {
        let booked = Reply::to(one.booking(key)).await;
        assert_eq!(booked.status, StatusCode::CREATED, "{booked:?}");
        ids.push(id(&booked.json()));
    }
    let list = async |query: &str| {
        let listed = Reply::to(other.request(Method::GET, &format!("/bookings{query}"))).await;
        let listed = listed.json();
        let listed = listed.as_array().expect("bookings");
        listed.iter().map(id).collect::<Vec<_>>()
    };
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(list("").await, newest_first);
    assert_eq!(list("?limit=2").await, newest_first[..2]);
    let behind = format!("?limit=2&after={}", newest_first[1]);
    assert_eq!(list(&behind).await, newest_first[2..]);

    let path = format!("/bookings/{}", ids[0]);
    let before = Reply::to(one.request(Method::GET, &path)).await.json();
    let change = json!({ "customer_name": "Bob", "status": "cancelled" });
    let change = other.request(Method::PATCH, &path).json(&change);
    let changed = Reply::to(change).await;
    let mut expected = before;
    expected["customer_name"] = "Bob".into();
    expected["status"] = "cancelled".into();
    assert_eq!(changed.json(), expected);
    let shown = Reply::to(one.request(Method::GET, &path)).await;
    assert_eq!(shown.json(), expected);

    let removed = Reply::to(other.request(Method::DELETE, &path)).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    let change = json!({ "customer_name": "Eve" });
    for gone in [
        one.request(Method::GET, &path),
        one.request(Method::DELETE, &path),
        one.request(Method::PATCH, &path).json(&change),
    ] {
        assert_eq!(Reply::to(gone).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(list("").await, newest_first[..2]);
}

fn id(booking: &Value) -> String {
    booking["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_emulator_is_named_in_the_log() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let [service, _] = two_processes(emulator);
    service.wait_for_log("FIRESTORE_EMULATOR_HOST is set").await;
    service.wait_for_log(&emulator.address()).await;
}
