//! The few Firestore calls that the store uses.

use std::{
    env,
    error::Error,
    time::{Duration, SystemTime},
};

use gcloud_sdk::{
    GCP_DEFAULT_SCOPES, GoogleAuthHeaders, HeaderMap,
    google::firestore::v1::{
        BatchGetDocumentsRequest, BatchWriteRequest, CommitRequest, Document, RunQueryRequest,
        StructuredQuery, Write, WriteResult, batch_get_documents_response,
        run_query_request::QueryType,
    },
    google_cloud_auth::credentials::anonymous,
    tonic::{Code, ConnectError, Status, Streaming},
};
use http::{HeaderValue, header};
use tokio::time::timeout;

use super::{
    super::tls::is_provider_installed,
    FirestoreStoreError,
    connection::{Address, Connection},
    document, emulator,
    server_clock::ServerClock,
};

/// One database of one project.
#[derive(Clone)]
pub(super) struct Client {
    connection: Connection,
    database: String,
    pub(super) clock: ServerClock,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The document does not meet the precondition. Nothing was changed.
    Conflict(Status),
    /// It conflicted with another change of the same documents. Nothing was changed.
    Contention(Status),
    /// Firestore may have carried it out, and may carry it out if it is asked again.
    Unknown(Status),
    /// There was no connection on which it could have been sent.
    Unsent(Status),
    /// Firestore will not carry it out, however often it is asked.
    Refused(Status),
}

/// Google's own server.
const GOOGLE: &str = "firestore.googleapis.com";

/// How long one call may take. A second try fits into the time that the engine gives the store.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the first call may take, which looks up names and credentials and opens the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query may take, which returns many documents.
const QUERY_TIMEOUT: Duration = Duration::from_secs(4);

impl Client {
    /// The project's default database: in the emulator that the environment names, or else at Google.
    pub(super) async fn connect(project: &str) -> Result<Self, FirestoreStoreError> {
        match env::var("FIRESTORE_EMULATOR_HOST") {
            Ok(host) if !host.is_empty() => {
                if !emulator::may_have(project, &host) {
                    return Err(FirestoreStoreError::Emulator(host.into()));
                }
                tracing::warn!(
                    host,
                    project,
                    "FIRESTORE_EMULATOR_HOST is set: documents go to an emulator, and not to Google's Firestore",
                );
                Self::connect_to_emulator(project, &host).await
            }
            _ => {
                let database = database(project)?;
                // Credentials are fetched by TLS too.
                if !is_provider_installed() {
                    return Err(FirestoreStoreError::CryptoProviderMissing);
                }
                let address = Address {
                    url: format!("https://{GOOGLE}"),
                    tls_name: Some(GOOGLE),
                    prefix: database,
                    headers: HeaderMap::new(),
                };
                let scopes = GCP_DEFAULT_SCOPES.clone();
                Self::connected(address, GoogleAuthHeaders::from_adc_with_scopes(scopes)).await
            }
        }
    }

    /// The same in the emulator at this address, which asks for no credentials.
    pub(super) async fn connect_to_emulator(
        project: &str,
        host: &str,
    ) -> Result<Self, FirestoreStoreError> {
        // This header makes the emulator skip any security rules that it was given.
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Bearer owner"),
        );
        let address = Address {
            url: format!("http://{host}"),
            tls_name: None,
            prefix: database(project)?,
            headers,
        };
        let none = GoogleAuthHeaders::from(anonymous::Builder::new().build());
        Self::connected(address, async { Ok(none) }).await
    }

    async fn connected(
        address: Address,
        credentials: impl Future<Output = Result<GoogleAuthHeaders, gcloud_sdk::error::Error>>,
    ) -> Result<Self, FirestoreStoreError> {
        let first_look = async {
            let credentials = credentials
                .await
                .map_err(FirestoreStoreError::unreachable)?;
            let client = Self {
                database: address.prefix.clone(),
                connection: Connection::open(address, credentials).await?,
                clock: ServerClock::default(),
            };
            // Shows whether the credentials are accepted, and what the server's time is.
            client
                .get_within(CONNECT_TIMEOUT, client.name("0"))
                .await
                .map_err(|failure| FirestoreStoreError::unreachable(failure.into_status()))?;
            Ok(client)
        };
        timeout(CONNECT_TIMEOUT, first_look)
            .await
            .unwrap_or_else(|elapsed| Err(FirestoreStoreError::unreachable(elapsed)))
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Whether it is an emulator, which is the only server without TLS.
    pub(super) fn is_emulator(&self) -> bool {
        !self.connection.has_tls()
    }

    /// The full name of a record's document.
    pub(super) fn name(&self, id: &str) -> String {
        format!("{}/documents/{}/{id}", self.database, document::COLLECTION)
    }

    /// The document, if there is one, and the time at which it was read.
    pub(super) async fn get(
        &self,
        name: String,
    ) -> Result<(Option<Document>, SystemTime), Failure> {
        self.get_within(CALL_TIMEOUT, name).await
    }

    async fn get_within(
        &self,
        most: Duration,
        name: String,
    ) -> Result<(Option<Document>, SystemTime), Failure> {
        // The plain call to get a document does not return the time of the read.
        let request = BatchGetDocumentsRequest {
            database: self.database.clone(),
            documents: vec![name],
            ..Default::default()
        };
        let answers = self.connection.call(most, async |mut api| {
            all(api.batch_get_documents(request).await?.into_inner()).await
        });
        for answer in answers.await? {
            let read_time = self.clock.observe(answer.read_time);
            match (answer.result, read_time) {
                (Some(batch_get_documents_response::Result::Found(document)), Some(now)) => {
                    return Ok((Some(document), now));
                }
                (Some(batch_get_documents_response::Result::Missing(_)), Some(now)) => {
                    return Ok((None, now));
                }
                _ => {}
            }
        }
        Err(Failure::Unknown(Status::unknown(
            "neither found nor missing",
        )))
    }

    /// The full name of one of the application's documents.
    pub(super) fn document(&self, path: &str) -> String {
        format!("{}/documents/{path}", self.database)
    }

    /// Makes one change, and returns Firestore's result for it.
    pub(super) async fn write(&self, write: Write) -> Result<WriteResult, Failure> {
        let mut results = self.commit(vec![write]).await?;
        let result = results.pop();
        result.ok_or_else(|| Failure::Unknown(Status::unknown("a write without a result")))
    }

    /// Makes all of these changes or none, and returns Firestore's result for each.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<Vec<WriteResult>, Failure> {
        let request = CommitRequest {
            database: self.database.clone(),
            writes,
            ..Default::default()
        };
        let commit = self
            .connection
            .call(CALL_TIMEOUT, async |mut api| api.commit(request).await);
        let committed = commit.await?.into_inner();
        self.clock.observe(committed.commit_time);
        Ok(committed.write_results)
    }

    /// Makes each of these changes independently, and returns how many were made.
    pub(super) async fn write_each(&self, writes: Vec<Write>) -> Result<usize, Failure> {
        let request = BatchWriteRequest {
            database: self.database.clone(),
            writes,
            ..Default::default()
        };
        let written = self.connection.call(QUERY_TIMEOUT, async |mut api| {
            api.batch_write(request).await
        });
        let made = |code: i32| Code::from_i32(code) == Code::Ok;
        let statuses = written.await?.into_inner().status;
        Ok(statuses.iter().filter(|status| made(status.code)).count())
    }

    /// The documents that a query finds, and the time at which it found them.
    pub(super) async fn query(
        &self,
        query: StructuredQuery,
    ) -> Result<(Vec<Document>, SystemTime), Failure> {
        let request = RunQueryRequest {
            parent: format!("{}/documents", self.database),
            query_type: Some(QueryType::StructuredQuery(query)),
            ..Default::default()
        };
        let answers = self.connection.call(QUERY_TIMEOUT, async |mut api| {
            all(api.run_query(request).await?.into_inner()).await
        });
        let mut found = Vec::new();
        let mut now = None;
        for answer in answers.await? {
            now = self.clock.observe(answer.read_time).or(now);
            found.extend(answer.document);
        }
        Ok((found, now.unwrap_or_else(|| self.clock.now())))
    }
}

impl Failure {
    pub(super) fn into_status(self) -> Status {
        match self {
            Self::Conflict(status)
            | Self::Contention(status)
            | Self::Unknown(status)
            | Self::Unsent(status)
            | Self::Refused(status) => status,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let status = without_payload(status);
        if is_unconnected(&status) {
            return Self::Unsent(status);
        }
        match status.code() {
            Code::AlreadyExists | Code::FailedPrecondition | Code::NotFound => {
                Self::Conflict(status)
            }
            Code::Aborted => Self::Contention(status),
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Unavailable
            | Code::Unknown => Self::Unknown(status),
            _ => Self::Refused(status),
        }
    }
}

fn is_unconnected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(found) = cause {
        if found.is::<ConnectError>() {
            return true;
        }
        cause = found.source();
    }
    false
}

/// Errors end up in logs, and Firestore's texts name documents and repeat values. What Firestore says about the service
/// itself, and what the client says about the connection, is kept for operators.
fn without_payload(status: Status) -> Status {
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Unauthenticated
        | Code::Unavailable => status,
        _ if status.source().is_some() => status,
        code => Status::new(code, code.description()),
    }
}

fn database(project: &str) -> Result<String, FirestoreStoreError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte);
    if !project.is_empty() && project.bytes().all(allowed) {
        Ok(format!("projects/{project}/databases/(default)"))
    } else {
        Err(FirestoreStoreError::Project)
    }
}

async fn all<T>(mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}
