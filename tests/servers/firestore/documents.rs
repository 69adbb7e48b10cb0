//! What a test reads and changes in Firestore without the store.

use std::{collections::HashMap, thread, time::Duration};

use gcloud_sdk::{
    google::firestore::v1::{
        Document, DocumentMask, GetDocumentRequest, ListDocumentsRequest, Precondition,
        UpdateDocumentRequest, Value, firestore_client::FirestoreClient,
        precondition::ConditionType, value::ValueType,
    },
    prost_types::Timestamp,
    tonic::{Code, Status, transport::Channel},
};
use idempotency::store::{RecordId, Token};

/// The records of one project.
#[derive(Clone, Debug)]
pub struct Documents {
    url: String,
    parent: String,
}

impl Documents {
    /// The records in the emulator at this address.
    #[must_use]
    pub fn new(address: &str, project: &str) -> Self {
        Self {
            url: format!("http://{address}"),
            parent: format!("projects/{project}/databases/(default)/documents"),
        }
    }

    /// Lets this much time pass for all records.
    ///
    /// # Panics
    ///
    /// If the emulator does not respond, or a document is not as the store writes it.
    pub fn set_back(&self, time: Duration) {
        let work = async {
            for document in self.all().await {
                self.set_one_back(document, time).await;
            }
        };
        // On a new thread, because the tests that call it are already on a runtime.
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
    pub async fn one_is_taken(&self) {
        self.until(|record| record.is_some()).await;
    }

    /// Returns once the only record has this progress.
    pub async fn one_has_left(&self, left: &[u8]) {
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
    ///
    /// # Panics
    ///
    /// If the emulator fails to do it.
    pub async fn set<const FIELDS: usize>(
        &self,
        id: &RecordId,
        fields: [(&str, ValueType); FIELDS],
    ) {
        let changed = self.change(&self.name(id), &fields, None).await;
        changed.expect("the document is changed");
    }

    /// Puts a document of this name, which is not a record, next to the records.
    ///
    /// # Panics
    ///
    /// If the emulator fails to do it.
    pub async fn put_beside(&self, name: &str) {
        let name = format!("{}/idempotency_records/{name}", self.parent);
        let note = ("note", ValueType::StringValue("by hand".into()));
        let put = self.change(&name, &[note], None).await;
        put.expect("the document is there");
    }

    /// The phase and the token of the only record, if there is one.
    ///
    /// # Panics
    ///
    /// If the emulator does not respond, or the document is not as the store writes it.
    pub async fn only(&self) -> Option<(String, Token)> {
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

    /// Returns once this is true of the only record.
    pub async fn until(&self, are_so: impl Fn(Option<(String, Token)>) -> bool) {
        while !are_so(self.only().await) {
            tokio::task::yield_now().await;
        }
    }

    /// All of them.
    ///
    /// # Panics
    ///
    /// If the emulator does not respond.
    pub async fn all(&self) -> Vec<Document> {
        self.of("idempotency_records").await
    }

    /// Every document of this collection, in the order of their names.
    ///
    /// # Panics
    ///
    /// If the emulator does not respond.
    pub async fn of(&self, collection: &str) -> Vec<Document> {
        let mut client = self.client().await;
        let mut documents = Vec::new();
        let mut request = ListDocumentsRequest {
            parent: self.parent.clone(),
            collection_id: collection.into(),
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

    /// Moves the times of one document, unless the store removes it meanwhile.
    async fn set_one_back(&self, mut document: Document, time: Duration) {
        loop {
            let names = ["stepped_at", "expires_at", "created_at"];
            let names = names
                .into_iter()
                .filter(|name| *name != "created_at" || document.fields.contains_key(*name));
            let times: Vec<_> = names
                .map(|name| match document.fields[name].value_type.as_ref() {
                    Some(ValueType::TimestampValue(at)) => {
                        (name, ValueType::TimestampValue(earlier(at, time)))
                    }
                    other => panic!("{name} is a time, and not {other:?}"),
                })
                .collect();
            let changed = self.change(&document.name, &times, document.update_time);
            let Err(status) = changed.await else { return };
            let is_outrun =
                [Code::FailedPrecondition, Code::Aborted, Code::NotFound].contains(&status.code());
            assert!(is_outrun, "{status}");
            match self.find(&document.name).await {
                Some(stepped) => document = stepped,
                None => return,
            }
        }
    }

    async fn find(&self, name: &str) -> Option<Document> {
        let request = GetDocumentRequest {
            name: name.into(),
            ..Default::default()
        };
        match self.client().await.get_document(request).await {
            Ok(document) => Some(document.into_inner()),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// Sets fields; where a time is given, only if that was the document's last change.
    async fn change(
        &self,
        name: &str,
        fields: &[(&str, ValueType)],
        unchanged_since: Option<Timestamp>,
    ) -> Result<(), Status> {
        let paths = fields.iter().map(|(path, _)| (*path).into()).collect();
        let fields: HashMap<String, Value> = fields
            .iter()
            .map(|(path, value)| {
                let value_type = Some(value.clone());
                ((*path).into(), Value { value_type })
            })
            .collect();
        let request = UpdateDocumentRequest {
            document: Some(Document {
                name: name.into(),
                fields,
                ..Default::default()
            }),
            update_mask: Some(DocumentMask { field_paths: paths }),
            current_document: unchanged_since.map(|time| Precondition {
                condition_type: Some(ConditionType::UpdateTime(time)),
            }),
            ..Default::default()
        };
        self.client().await.update_document(request).await.map(drop)
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
