//! What each Rust server has in common: its address, its bookings, and how one of them fails. The layer around them is the library's.

use std::{
    collections::HashSet,
    env,
    error::Error,
    fmt::{self, Display, Formatter},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// The body of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NewBooking {
    pub guest: String,
    pub room: String,
    pub arrival: String,
    pub nights: u32,
    /// How long the handler takes after its effect.
    #[serde(default)]
    pub pause_ms: u64,
    /// How the first run for this guest ends. The others succeed.
    #[serde(default)]
    pub first_run: Ending,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    #[default]
    Succeeds,
    Panics,
    Fails,
}

/// The body of a response.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Booking {
    pub id: u64,
    pub guest: String,
    pub room: String,
    pub arrival: String,
    pub nights: u32,
}

/// Where the servers with rows have their bookings.
pub const TABLE: &str = "create table bookings (id bigserial primary key, guest text not null, \
                         room text not null, arrival text not null, nights bigint not null)";

/// A run that ends with 500.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Failed;

/// The bookings of a server that keeps them nowhere: only their number is known.
#[derive(Clone, Debug, Default)]
pub struct Counted(Arc<AtomicU64>);

impl NewBooking {
    #[must_use]
    pub fn booked(self, id: u64) -> Booking {
        let Self {
            guest,
            room,
            arrival,
            nights,
            ..
        } = self;
        Booking {
            id,
            guest,
            room,
            arrival,
            nights,
        }
    }

    /// What a handler does after its effect.
    ///
    /// # Errors
    ///
    /// In the first run of a guest for whom that is asked.
    ///
    /// # Panics
    ///
    /// Likewise.
    pub async fn after_effect(&self) -> Result<(), Failed> {
        if self.pause_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.pause_ms)).await;
        }
        if self.first_run == Ending::Succeeds || !is_first(&self.guest) {
            return Ok(());
        }
        assert!(self.first_run != Ending::Panics, "a request asked for this");
        Err(Failed)
    }
}

fn is_first(guest: &str) -> bool {
    static FAILED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut failed = FAILED.lock().expect("no thread panics with it");
    failed.get_or_insert_default().insert(guest.to_owned())
}

impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the booking failed")
    }
}

impl Error for Failed {}

impl IntoResponse for Booking {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self)).into_response()
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl Counted {
    /// The route by which the number of effects is read, for outside of the library's layer.
    pub fn effects(&self) -> Router {
        let number =
            async |State(Self(number)): State<Self>| number.load(Ordering::Relaxed).to_string();
        Router::new()
            .route("/effects", get(number))
            .with_state(self.clone())
    }
}

/// The handler of the servers that keep nothing.
///
/// # Errors
///
/// If the request asks for it.
pub async fn book(
    State(Counted(number)): State<Counted>,
    Json(new): Json<NewBooking>,
) -> Result<Booking, Failed> {
    let id = number.fetch_add(1, Ordering::Relaxed) + 1;
    new.after_effect().await?;
    Ok(new.booked(id))
}

/// Serves on the loopback address, at the port of the variable `PORT`.
///
/// # Panics
///
/// If it cannot.
pub async fn serve(router: Router) {
    let port = env::var("PORT").expect("PORT is set");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .expect("a free port");
    axum::serve(listener, router).await.expect("it serves");
}
