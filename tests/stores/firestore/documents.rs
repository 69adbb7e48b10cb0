//! What a test reads and changes in Firestore behind a store's back.

use std::{collections::HashMap, thread, time::Duration};

use gcloud_sdk::{
    google::firestore::v1::{
        Document, DocumentMask, ListDocumentsRequest, UpdateDocumentRequest, Value,
        firestore_client::FirestoreClient, value::ValueType,
    },
    prost_types::Timestamp,
    tonic::transport::Channel,
};
use idempotency::{RecordId, Token};

/// The records of one project.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    url: String,
    parent: String,
}

impl Documents {
    pub(crate) fn new(address: &str, project: &str) -> Self {
        Self {
            url: format!("http://{address}"),
            parent: format!("projects/{project}/databases/(default)/documents"),
        }
    }

    /// Lets this much time pass for all records.
    pub(crate) fn set_back(&self, time: Duration) {
        let work = async {
            for document in self.all().await {
                let times = ["stepped_at", "expires_at"].map(|name| {
                    let Some(ValueType::TimestampValue(at)) = document
                        .fields
                        .get(name)
                        .and_then(|value| value.value_type.as_ref())
                    else {
                        panic!("{name} is a time");
                    };
                    (name, ValueType::TimestampValue(earlier(at, time)))
                });
                self.change(&document.name, times).await;
            }
        };
        // In a thread of its own, because the tests that call it are on a runtime already.
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime")
                    .block_on(work);
            });
            thread.join().expect("the records are set back");
        });
    }

    /// Returns once there is a record.
    pub(crate) async fn one_is_taken(&self) {
        self.until(|record| record.is_some()).await;
    }

    /// Returns once the only record's run has left this.
    pub(crate) async fn one_has_left(&self, left: &[u8]) {
        let left = Some(ValueType::BytesValue(left.into()));
        loop {
            let mut document = self.all().await.pop();
            let outcome = document.as_mut().and_then(|it| it.fields.remove("outcome"));
            if outcome.and_then(|value| value.value_type) == left {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sets fields of a record's document, which is made if there is none.
    pub(crate) async fn set<const FIELDS: usize>(
        &self,
        id: &RecordId,
        fields: [(&str, ValueType); FIELDS],
    ) {
        self.change(&self.name(id), fields).await;
    }

    /// The phase and the token of the only record, if there is one.
    pub(crate) async fn only(&self) -> Option<(String, Token)> {
        let mut fields = self.all().await.pop()?.fields;
        let mut field = |name| {
            fields
                .remove(name)
                .and_then(|value: Value| value.value_type)
        };
        match (field("phase"), field("token")) {
            (Some(ValueType::StringValue(phase)), Some(ValueType::BytesValue(token))) => {
                let token = token.try_into().expect("16 bytes");
                Some((phase, Token::from_bytes(token)))
            }
            other => panic!("a word and bytes, and not {other:?}"),
        }
    }

    /// Returns once they are so.
    pub(crate) async fn until(&self, are_so: impl Fn(Option<(String, Token)>) -> bool) {
        while !are_so(self.only().await) {
            tokio::task::yield_now().await;
        }
    }

    /// All of them.
    pub(crate) async fn all(&self) -> Vec<Document> {
        let mut client = self.client().await;
        let mut documents = Vec::new();
        let mut request = ListDocumentsRequest {
            parent: self.parent.clone(),
            collection_id: "idempotency_records".into(),
            ..Default::default()
        };
        loop {
            let page = client.list_documents(request.clone()).await;
            let page = page.expect("a page of documents").into_inner();
            documents.extend(page.documents);
            if page.next_page_token.is_empty() {
                return documents;
            }
            request.page_token = page.next_page_token;
        }
    }

    fn name(&self, id: &RecordId) -> String {
        let digits = id.as_bytes().map(|byte| format!("{byte:02x}")).concat();
        format!("{}/idempotency_records/{digits}", self.parent)
    }

    async fn change<const FIELDS: usize>(&self, name: &str, fields: [(&str, ValueType); FIELDS]) {
        let paths = fields.iter().map(|(path, _)| (*path).into()).collect();
        let fields: HashMap<String, Value> = fields
            .into_iter()
            .map(|(path, value)| {
                let value_type = Some(value);
                (path.into(), Value { value_type })
            })
            .collect();
        let request = UpdateDocumentRequest {
            document: Some(Document {
                name: name.into(),
                fields,
                ..Default::default()
            }),
            update_mask: Some(DocumentMask { field_paths: paths }),
            ..Default::default()
        };
        let changed = self.client().await.update_document(request).await;
        changed.expect("the document is changed");
    }

    async fn client(&self) -> FirestoreClient<Channel> {
        FirestoreClient::connect(self.url.clone())
            .await
            .expect("a connection")
    }
}

fn earlier(at: &Timestamp, by: Duration) -> Timestamp {
    let seconds = i64::try_from(by.as_secs()).expect("a short time");
    let nanos = i32::try_from(by.subsec_nanos()).expect("less than a second");
    let borrowed = i32::from(at.nanos < nanos);
    Timestamp {
        seconds: at.seconds - seconds - i64::from(borrowed),
        nanos: at.nanos + 1_000_000_000 * borrowed - nanos,
    }
}
