//! A user's own tests of a retry and of an expiry, without a server and without sleeping.
//!
//! `cargo test --example testing -p idempotency` runs the tests. `cargo run --example testing -p idempotency` runs the
//! service that they test, which sends itself one request.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idempotency::{Idempotency, MemoryStore, Store, idempotent};
use tokio::net::TcpListener;

type Parcels = Arc<AtomicU64>;

/// The handler under test.
#[idempotent(ttl_seconds = 3600)]
async fn send_parcel(State(parcels): State<Parcels>, address: String) -> (StatusCode, String) {
    let number = parcels.fetch_add(1, Ordering::Relaxed) + 1;
    (StatusCode::CREATED, format!("parcel {number} to {address}"))
}

/// The service takes its store as an argument, so that a test can give it one with a clock of its own.
fn app(store: impl Store) -> Router {
    Router::new()
        .route("/parcels", post(send_parcel))
        .layer(Extension(Idempotency::new(store)))
        .with_state(Parcels::default())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let parcels = format!("http://{}/parcels", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app(MemoryStore::new())).into_future());
    let request = reqwest::Client::new()
        .post(parcels)
        .header("Idempotency-Key", "\"parcel-for-ann\"")
        .body("Ann");
    let response = request.send().await?;
    println!("{}: {}", response.status(), response.text().await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        body::{Body, to_bytes},
        http::Request,
        response::Response,
    };
    use idempotency::Clock;
    use tower::ServiceExt;

    use super::*;

    /// Sends the parcel under the key. The router is a tower service, so no socket is needed.
    async fn send(app: &Router, key: &str, address: &'static str) -> Response {
        let request = Request::post("/parcels").header("Idempotency-Key", key);
        let request = request.body(Body::from(address)).unwrap();
        app.clone().oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.into()).unwrap()
    }

    #[tokio::test]
    async fn a_retry_gets_the_first_response_and_sends_no_second_parcel() {
        let app = app(MemoryStore::new());
        let first = send(&app, "\"1\"", "Ann").await;
        assert_eq!(first.status(), StatusCode::CREATED);
        assert!(!first.headers().contains_key("Idempotent-Replayed"));
        assert_eq!(text(first).await, "parcel 1 to Ann");

        let retry = send(&app, "\"1\"", "Ann").await;
        assert_eq!(retry.status(), StatusCode::CREATED);
        assert_eq!(retry.headers()["Idempotent-Replayed"], "true");
        assert_eq!(text(retry).await, "parcel 1 to Ann");
    }

    #[tokio::test]
    async fn the_key_of_one_parcel_sends_no_other_one() {
        let app = app(MemoryStore::new());
        send(&app, "\"1\"", "Ann").await;
        let other = send(&app, "\"1\"", "Bob").await;
        assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[tokio::test]
    async fn a_key_is_forgotten_an_hour_after_its_parcel() {
        let clock = Clock::manual();
        let app = app(MemoryStore::new().with_clock(clock.clone()));
        assert_eq!(
            text(send(&app, "\"1\"", "Ann").await).await,
            "parcel 1 to Ann"
        );
        clock.advance(Duration::from_secs(3599));
        assert_eq!(
            text(send(&app, "\"1\"", "Ann").await).await,
            "parcel 1 to Ann"
        );
        // The store keeps a record up to a minute longer than is announced, for retries on their way.
        clock.advance(Duration::from_secs(62));
        assert_eq!(
            text(send(&app, "\"1\"", "Ann").await).await,
            "parcel 2 to Ann"
        );
    }
}
