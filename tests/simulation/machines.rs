//! The machine of the store, and those of the service.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use idempotency::{Clock, Execution, Idempotency, Label, Scope, Store, idempotent, store::Wakeups};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    mail::Mail,
    remote_store::{PORT, RemoteStore},
    rows::Rows,
    transactions::{Booking, Desk, book_a_row, book_a_row_waiting},
    world::World,
};

/// Where a service listens.
pub(crate) const HTTP: u16 = 80;

/// What a client asks for: at the first a duplicate is refused, and at the second it waits.
pub(crate) const PATHS: [&str; 2] = ["/bookings", "/patient/bookings"];

/// How a service handles bookings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handling {
    Protected,
    /// In transactional mode.
    Transactional,
    /// The same, with the row in a commit of its own.
    RowsFirst,
    /// Without the attribute.
    Bare,
}

impl Handling {
    /// Whether the store is a database, with rows of the service.
    pub(crate) const fn is_transactional(self) -> bool {
        matches!(self, Self::Transactional | Self::RowsFirst)
    }
}

/// Serves the store, whose clock shows the simulated time.
pub(crate) async fn serve_store(
    store: Arc<dyn Store>,
    clock: Clock,
    mail: Mail,
) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (store, clock, mail) = (Arc::clone(&store), clock.clone(), mail.clone());
        tokio::spawn(async move { answer(stream, store, &clock, &mail).await });
    }
}

async fn answer(
    mut stream: TcpStream,
    store: Arc<dyn Store>,
    clock: &Clock,
    mail: &Mail,
) -> std::io::Result<()> {
    let letter = stream.read_u64().await?;
    set(clock);
    let reply = mail.answer(letter, store).await;
    stream.write_u64(reply).await
}

/// Sets the clock to the simulated time.
fn set(clock: &Clock) {
    let passed = clock.now().duration_since(Clock::manual().now());
    let passed = passed.expect("a clock that is not set back");
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    clock.advance(elapsed.saturating_sub(passed));
}

/// Serves bookings.
pub(crate) async fn serve_bookings(
    mail: Mail,
    world: World,
    handling: Handling,
    rows: Arc<Rows<Booking>>,
) -> turmoil::Result {
    let store = RemoteStore {
        mail,
        wakeups: Wakeups::default(),
    };
    let desk = Desk {
        world,
        store: store.clone(),
        rows,
        is_atomic: handling != Handling::RowsFirst,
    };
    let idempotency = Idempotency::builder(store)
        .with_scope(|head| {
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            let principal = header("authorization").ok_or("nobody")?;
            let label = header("x-operation").unwrap_or_default();
            Ok(Scope::principal(principal).labelled(Label::text(label)))
        })
        .build();
    let routes = match handling {
        Handling::Protected => [post(book), post(book_waiting)],
        Handling::Transactional | Handling::RowsFirst => {
            [post(book_a_row), post(book_a_row_waiting)]
        }
        Handling::Bare => [post(book_bare), post(book_bare)],
    };
    let app = PATHS.into_iter().zip(routes);
    let app = app.fold(Router::new(), |app, (path, route)| app.route(path, route));
    let app = app.layer(idempotency.extension()).with_state(desk);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Clients leave, and connections break.
            drop(connection.await);
        });
    }
}

/// A lease is shorter than some of the runs, and than some of what goes wrong.
#[idempotent(ttl_seconds = 3600, lease_seconds = 3)]
async fn book(State(world): State<World>, execution: Execution, operation: String) -> Response {
    booked(&world, &execution, operation).await
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 3, on_duplicate = "wait")]
async fn book_waiting(
    State(world): State<World>,
    execution: Execution,
    operation: String,
) -> Response {
    booked(&world, &execution, operation).await
}

async fn booked(world: &World, execution: &Execution, operation: String) -> Response {
    let run = world.runs(&operation, execution.attempt());
    sleep(world.pause(3000)).await;
    let key = execution.child_key("charge");
    let charge = {
        let (world, operation) = (world.clone(), operation.clone());
        async move {
            sleep(world.pause(500)).await;
            world.charges(&operation, key);
            sleep(world.pause(500)).await;
            Ok::<_, StatusCode>(run)
        }
    };
    match execution.step("charge", charge).await {
        Ok(charged) => {
            sleep(world.pause(1000)).await;
            // A fifth of the runs fails after the charge.
            if world.pause(5) < Duration::from_millis(1) {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            let response = format!("{operation} by run {run}, charged by run {charged}");
            (StatusCode::CREATED, response).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The same without protection. It only says that its responses are stored.
async fn book_bare(State(world): State<World>, operation: String) -> impl IntoResponse {
    let run = world.runs(&operation, 1);
    world.charges(&operation, format!("a key of run {run}"));
    world.commits(&operation);
    sleep(world.pause(1000)).await;
    let stored = [("idempotency-expires", "never")];
    let response = format!("{operation} by run {run}");
    (StatusCode::CREATED, stored, response)
}
