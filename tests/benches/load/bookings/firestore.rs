//! Bookings in Firestore, each a document.

use gcloud_sdk::{
    google::firestore::v1::{
        CreateDocumentRequest, Document, Value, firestore_client::FirestoreClient, value::ValueType,
    },
    tonic::transport::Channel,
};

use super::{Bookings, Failure};
use crate::service::Booking;

/// The documents of one project.
#[derive(Clone)]
pub(crate) struct Documents {
    client: FirestoreClient<Channel>,
    parent: String,
}

impl Bookings {
    pub(crate) async fn in_firestore(project: &str, address: &str) -> Self {
        let client = FirestoreClient::connect(format!("http://{address}")).await;
        Self::Firestore(Documents {
            client: client.expect("a connection"),
            parent: format!("projects/{project}/databases/(default)/documents"),
        })
    }
}

impl Documents {
    pub(super) async fn insert(&self, booking: Booking) -> Result<(), Failure> {
        let texts = [
            ("service_id", booking.service_id),
            ("customer_name", booking.customer_name),
            ("date", booking.date),
            ("time", booking.time),
        ];
        let fields = texts.map(|(name, text)| {
            let value_type = Some(ValueType::StringValue(text));
            (name.to_owned(), Value { value_type })
        });
        let create = CreateDocumentRequest {
            parent: self.parent.clone(),
            collection_id: "bookings".into(),
            document_id: booking.id.to_string(),
            document: Some(Document {
                fields: fields.into(),
                ..Document::default()
            }),
            ..CreateDocumentRequest::default()
        };
        self.client.clone().create_document(create).await?;
        Ok(())
    }
}
