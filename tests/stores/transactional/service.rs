//! One service over the database, and what its handlers do.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    CommitError, Disposition, Execution, Idempotency, IdempotencyKey, Label, Scope, Store,
    idempotent,
    options::Ttl,
    store::{Record, RecordId},
};
use parking_lot::Mutex;
use tests::{reply::Reply, wait::within_a_minute};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

use super::Database;

/// One service over the database: an engine, a server and a client.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) database: Database,
    pub(super) idempotency: Idempotency,
    pub(super) probe: Arc<HandlerProbe>,
    pub(super) address: String,
    pub(super) client: reqwest::Client,
}

/// Where the handlers of a service stop, and what they have seen.
#[derive(Debug)]
pub(super) struct HandlerProbe {
    pub(super) arrived: Semaphore,
    pub(super) pass: Semaphore,
    pub(super) attempts: Mutex<Vec<u32>>,
    pub(super) failures: Mutex<Vec<String>>,
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn book(
    State(service): State<Service>,
    Path(what): Path<String>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    service.carry_out(&what, &execution, &guest).await
}

#[idempotent(ttl_seconds = 3600, transactional, on_duplicate = "wait")]
async fn book_patiently(
    State(service): State<Service>,
    Path(what): Path<String>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    service.carry_out(&what, &execution, &guest).await
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 2)]
async fn book_under_a_lease(
    State(service): State<Service>,
    Path(what): Path<String>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    service.carry_out(&what, &execution, &guest).await
}

/// How long a lasting response is replayed.
pub(super) const LASTING: Duration = Duration::from_secs(30 * 86_400);

impl Service {
    pub(super) async fn start(database: Database, store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let service = Self {
            database,
            idempotency: Idempotency::builder(store).build(),
            probe: Arc::new(HandlerProbe {
                arrived: Semaphore::new(0),
                pass: Semaphore::new(0),
                attempts: Mutex::default(),
                failures: Mutex::default(),
            }),
            address: format!("http://{}", listener.local_addr().expect("an address")),
            client: reqwest::Client::new(),
        };
        let labelled = Router::new()
            .route("/book/{what}", post(book))
            .route("/leased/{what}", post(book_under_a_lease))
            .layer(Extension(
                Scope::anonymous().labelled(Label::text("O'Brien 💶")),
            ));
        let router = Router::new()
            .nest("/labelled", labelled)
            .route("/book/{what}", post(book))
            .route("/patient/{what}", post(book_patiently))
            .route("/leased/{what}", post(book_under_a_lease))
            .with_state(service.clone())
            .layer(Extension(service.idempotency.clone()));
        tokio::spawn(async { axum::serve(listener, router).await });
        service
    }

    /// Sends a request with this key, and reads its response.
    pub(super) async fn send(&self, path: &str, key: &str, guest: &str) -> Reply {
        let request = self.client.post(format!("{}{path}", self.address));
        let request = request.header("idempotency-key", key);
        Reply::to(request.body(guest.to_owned())).await
    }

    /// The same without a key.
    pub(super) async fn send_without_a_key(&self, path: &str, guest: &str) -> Reply {
        let request = self.client.post(format!("{}{path}", self.address));
        Reply::to(request.body(guest.to_owned())).await
    }

    /// The same, in the background.
    pub(super) fn sending(&self, path: &str, key: &str, guest: &str) -> JoinHandle<Reply> {
        let (service, path, key, guest) = (
            self.clone(),
            path.to_owned(),
            key.to_owned(),
            guest.to_owned(),
        );
        tokio::spawn(async move { service.send(&path, &key, &guest).await })
    }

    /// Returns once a handler has stopped. Each handler is reported once.
    pub(super) async fn arrived(&self) {
        let arrived = within_a_minute("a handler that stops", self.probe.arrived.acquire()).await;
        arrived.expect("an open semaphore").forget();
    }

    /// Lets one of those continue.
    pub(super) fn pass(&self) {
        self.probe.pass.add_permits(1);
    }

    /// How often a handler has begun.
    pub(super) fn runs(&self) -> usize {
        self.probe.attempts.lock().len()
    }

    pub(super) fn id(&self, key: &str) -> RecordId {
        let key = IdempotencyKey::new(key).expect("a key");
        self.idempotency.record_id(&Scope::anonymous(), &key)
    }

    pub(super) async fn record(&self, key: &str) -> Option<Record> {
        let found = self.idempotency.store().inspect(&self.id(key)).await;
        found.expect("a store that responds")
    }

    /// What a handler does that is to end in this way.
    async fn carry_out(
        &self,
        what: &str,
        execution: &Execution,
        guest: &str,
    ) -> Result<Response, CommitError> {
        self.probe.attempts.lock().push(execution.attempt());
        let reply = (StatusCode::CREATED, format!("{guest} has a room"));
        match what {
            "stop" => {
                self.probe.arrived.add_permits(1);
                self.probe.pass.acquire().await.expect("a gate").forget();
                self.book(execution, guest, reply).await
            }
            "forget" => Ok(reply.into_response()),
            "do-nothing" => Ok((Extension(Disposition::Release), reply).into_response()),
            "lasting" => {
                let lasting = (Extension(Ttl(LASTING)), reply);
                self.book(execution, guest, lasting).await
            }
            "refuse-lastingly" => {
                Ok((StatusCode::CONFLICT, Extension(Ttl(LASTING)), "no room").into_response())
            }
            "refuse" => Ok((StatusCode::CONFLICT, "no room").into_response()),
            "fail" => Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
            "hide" => {
                self.book(execution, guest, reply).await?;
                Ok((StatusCode::INTERNAL_SERVER_ERROR, "the mail was not sent").into_response())
            }
            "panic" => {
                self.book(execution, guest, reply).await?;
                panic!("after the commit");
            }
            "twice" => {
                self.book(execution, guest, reply).await?;
                self.book(execution, "somebody else", "again").await
            }
            "give-up-midway" => {
                self.give_up_midway(execution, guest, reply).await;
                Ok(StatusCode::GATEWAY_TIMEOUT.into_response())
            }
            "stop-secret" => {
                self.probe.arrived.add_permits(1);
                self.probe.pass.acquire().await.expect("a gate").forget();
                let secret = (
                    StatusCode::CREATED,
                    Extension(Disposition::Tombstone),
                    "a token",
                );
                self.book(execution, guest, secret).await
            }
            "give-up-on-a-sign" => {
                self.probe.arrived.add_permits(1);
                tokio::select! {
                    committed = self.book(execution, guest, reply) => committed,
                    sign = self.probe.pass.acquire() => {
                        sign.expect("a gate").forget();
                        Ok(StatusCode::GATEWAY_TIMEOUT.into_response())
                    }
                }
            }
            "give-up" => {
                // Polled once, and then dropped while the commit is in flight.
                let mut commit = Box::pin(self.book(execution, guest, reply));
                drop(futures_util::poll!(&mut commit));
                drop(commit);
                Ok(StatusCode::GATEWAY_TIMEOUT.into_response())
            }
            "stop-in-the-transaction"
            | "empty"
            | "unprepared"
            | "around-nested"
            | "savepoint"
            | "search-path"
            | "nested"
            | "aborted"
            | "rolled-back"
            | "committed" => self.book_in_a_way(what, execution, guest).await,
            _ => self.book(execution, guest, reply).await,
        }
    }

    async fn book(
        &self,
        execution: &Execution,
        guest: &str,
        reply: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let booked = self
            .database
            .book(&self.probe, execution, guest, reply)
            .await;
        if let Err(error) = &booked {
            self.probe.failures.lock().push(error.to_string());
        }
        booked
    }

    /// Drops the commit while its insert waits, and lets the insert continue afterwards.
    async fn give_up_midway(
        &self,
        execution: &Execution,
        guest: &str,
        reply: impl IntoResponse + Send,
    ) {
        let Database::Sqlite(file) = &self.database else {
            panic!("only SQLite runs what a test gives it");
        };
        let (begin, begun) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let guest = guest.to_owned();
        let insert = file.transaction(move |connection| {
            begin.send(()).expect("a handler that waits for it");
            may_go_on.recv().expect("a handler that lets it go on");
            connection.execute("insert into bookings values (?1)", [guest])
        });
        tokio::select! {
            ended = execution.commit(insert, reply) => panic!("it waits, and has not {ended:?}"),
            begun = begun => begun.expect("an insert that begins"),
        }
        go_on.send(()).expect("an insert that waits");
    }
}
