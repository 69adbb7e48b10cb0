//! A collection of Firestore: its documents, in the JSON of the REST interface.

use reqwest::Client;
use serde_json::{Map, Value, json};
use tests::servers::firestore::FirestoreEmulator;

fn collection(emulator: &FirestoreEmulator, project: &str) -> String {
    format!(
        "http://{}/v1/projects/{project}/databases/(default)/documents/idempotency_records",
        emulator.address()
    )
}

/// The fields of each document, by its id.
pub(super) async fn save(emulator: &FirestoreEmulator, project: &str) -> Vec<u8> {
    let url = format!("{}?pageSize=300", collection(emulator, project));
    let page = Client::new().get(url).send().await.expect("a response");
    let page: Value = page.json().await.expect("documents");
    assert!(page["nextPageToken"].is_null(), "one page has all of them");
    let documents = page["documents"].as_array().expect("documents");
    let fields: Map<_, _> = documents
        .iter()
        .map(|document| {
            let name = document["name"]
                .as_str()
                .and_then(|name| name.rsplit('/').next());
            (name.expect("a name").to_owned(), document["fields"].clone())
        })
        .collect();
    let mut text = serde_json::to_vec_pretty(&fields).expect("text");
    text.push(b'\n');
    text
}

pub(super) async fn restore(emulator: &FirestoreEmulator, project: &str, records: &[u8]) {
    let documents: Map<String, Value> = serde_json::from_slice(records).expect("documents");
    let client = Client::new();
    for (id, fields) in documents {
        let url = format!("{}/{id}", collection(emulator, project));
        let written = client.patch(url).json(&json!({ "fields": fields }));
        let written = written.send().await.expect("a response");
        assert!(written.status().is_success(), "{written:?}");
    }
}
