//! A server on a real socket, its client, and the faults that a test injects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use bytes::Bytes;
use idempotency::{
    Fingerprint, HttpConfig, Idempotency, IdempotencyBuilder, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, ListRequest, Record, Token},
};
use reqwest::{Client, Method, RequestBuilder, redirect::Policy};
use tempfile::TempDir;
use tests::reply::Reply;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    app,
    app::Probe,
    backend::Backend,
    store_faults::{FaultyStore, StoreFaults},
    time::Time,
};

/// One server with its store, and a client.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) idempotency: Idempotency,
    pub(crate) faults: StoreFaults,
    pub(crate) probe: Probe,
    pub(crate) time: Time,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl TestServer {
    /// The app of `app.rs` over a store in memory.
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder, |app| app).await
    }

    /// The app over this store; `None` where the store is not installed.
    pub(crate) async fn on(backend: Backend) -> Option<Self> {
        Self::wrapped_on(backend, |app| app).await
    }

    /// With other settings of the engine.
    pub(crate) async fn configured(
        configure: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder,
    ) -> Self {
        Self::with(configure, |app| app).await
    }

    /// With other HTTP settings.
    pub(crate) async fn speaking(http: HttpConfig) -> Self {
        Self::configured(|builder| builder.with_http(http)).await
    }

    /// With layers around the app.
    pub(crate) async fn wrapped(wrap: impl FnOnce(Router) -> Router) -> Self {
        Self::with(|builder| builder, wrap).await
    }

    pub(crate) async fn wrapped_on(
        backend: Backend,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, time) = backend.open(folder.path()).await?;
        Some(Self::start(store, time, folder, |builder| builder, wrap).await)
    }

    /// The app over a store that the test has made.
    pub(crate) async fn over(store: Arc<dyn Store>, time: Time) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start(store, time, folder, |builder| builder, |app| app).await
    }

    pub(crate) async fn with(
        configure: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let opened = Backend::Memory.open(folder.path()).await;
        let (store, time) = opened.expect("it is there everywhere");
        Self::start(store, time, folder, configure, wrap).await
    }

    async fn start(
        store: Arc<dyn Store>,
        time: Time,
        folder: TempDir,
        configure: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Self {
        let (store, faults) = FaultyStore::new(store);
        let idempotency = configure(Idempotency::builder(store)).build();
        let probe = Probe::default();
        let app = app::router(&idempotency, probe.clone()).layer(Extension(idempotency.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = wrap(app);
        let server =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        // Tests examine what is on the wire.
        let client = Client::builder()
            .gzip(false)
            .redirect(Policy::none())
            .build()
            .expect("a client");
        Self {
            address,
            client,
            idempotency,
            faults,
            probe,
            time,
            server,
            _folder: folder,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// A POST of a booking under this key.
    pub(crate) fn booking(&self, key: &str) -> RequestBuilder {
        self.post("/bookings", key, BOOKING)
    }

    /// A POST of JSON under this key.
    pub(crate) fn post(&self, path: &str, key: &str, json: &str) -> RequestBuilder {
        self.request(Method::POST, path)
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(json.to_owned())
    }

    /// Sends a request in the background.
    pub(crate) fn send(&self, request: RequestBuilder) -> JoinHandle<Reply> {
        tokio::spawn(Reply::to(request))
    }

    /// Sends bytes on a new connection, and returns all that the server sends until it closes it.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut connection = self.connect().await;
        connection
            .write_all(request.as_ref())
            .await
            .expect("the server reads");
        let mut response = Vec::new();
        // A server that refuses a request may reset the connection after its response.
        let _ = connection.read_to_end(&mut response).await;
        String::from_utf8_lossy(&response).into_owned()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    /// Leaves the key as a process would that died while it ran this request.
    pub(crate) async fn abandon(&self, path: &str, key: &str, json: &str) {
        Reply::to(self.post(path, key, json))
            .await
            .assert_fresh(201);
        let (mut hold, fingerprint) = self.only_record().await;
        // And the grace period after it.
        self.time.pass(hold.ttl + Duration::from_secs(60));
        hold.token = Token::random();
        let claim = self
            .idempotency
            .store()
            .claim(ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver))
            .await
            .expect("a claim");
        assert_eq!(claim, Claim::won(1, Bytes::new()));
        self.probe.forget_runs();
    }

    /// The only record, and a hold with which to change it.
    pub(crate) async fn only_record(&self) -> (Hold, Fingerprint) {
        let records = self.list().await;
        let [record] = records.as_slice() else {
            panic!("one record: {records:?}")
        };
        let hold = Hold::new(
            record.id,
            record.token,
            Duration::from_secs(30),
            Duration::from_secs(3600),
        );
        (hold, record.fingerprint)
    }

    /// Lets time pass for the store.
    pub(crate) fn pass(&self, seconds: u64) {
        self.time.pass(Duration::from_secs(seconds));
    }

    /// Lets nearly this much time pass, and returns the rest.
    pub(crate) fn pass_nearly(&self, seconds: u64) -> Duration {
        self.time.pass_nearly(Duration::from_secs(seconds))
    }

    /// How many records the store has.
    pub(crate) async fn records(&self) -> usize {
        self.list().await.len()
    }

    /// The records that the store has.
    pub(crate) async fn list(&self) -> Vec<Record> {
        let listed = self.idempotency.store().list(&ListRequest::new(1000)).await;
        let records = listed
            .expect("a list")
            .into_iter()
            .map(|listed| listed.record);
        records.map(|record| record.expect("a record")).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The booking that most tests make.
pub(crate) const BOOKING: &str =
    r#"{"service_id":"s1","customer_name":"Ann","date":"2026-12-01","time":"10:00"}"#;
