//! Handlers as people rarely write them.

#![deny(warnings)]
#![expect(clippy::let_and_return, reason = "handlers may be written like that")]

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::State,
    handler::Handler,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use idempotency::idempotent;

use crate::support::{protected, runs_once};

type Greeter = Arc<dyn Fn(&str) -> String + Send + Sync>;

macro_rules! echo {
    ($(#[$attribute:meta])* $name:ident, $seconds:expr, $body:ty) => {
        $(#[$attribute])*
        #[idempotent(ttl_seconds = $seconds)]
        async fn $name(body: $body) -> $body {
            body
        }
    };
}

echo! {
    /// Made by a macro.
    echoes, 60, String
}

#[idempotent]
async fn inner_attribute(body: String) -> String {
    #![allow(unused_variables)]
    let unused = 7;
    body
}

#[idempotent]
async fn captures_nothing() -> axum::response::Result<impl IntoResponse + use<>> {
    Ok::<_, axum::response::ErrorResponse>("nothing")
}

#[idempotent]
async fn function_in_a_type(
    State(greet): State<Greeter>,
    Extension(again): Extension<Arc<dyn for<'a> Fn(&'a str) -> &'a str + Send + Sync>>,
) -> Result<String, (StatusCode, &'static str)> {
    Ok(greet(again("Ann")))
}

#[idempotent]
async fn recurses(body: String) -> Response {
    match body.is_empty() {
        true => "empty".into_response(),
        // Inside the function, its name means the function.
        false => Box::pin(recurses(String::new())).await,
    }
}

// Inside the function, a variable may have the handler's name.
#[idempotent]
async fn booking(booking: String) -> String {
    let booking = booking + "!";
    booking
}

fn local() -> MethodRouter<Greeter> {
    #[idempotent]
    async fn inside_of_a_function() -> &'static str {
        "inside"
    }

    post(inside_of_a_function)
}

#[tokio::test]
async fn a_handler_in_an_unusual_form_replays() {
    let greeter: Greeter = Arc::new(|name| format!("Hello, {name}"));
    let again: Arc<dyn Fn(&str) -> &str + Send + Sync> = Arc::new(|name| name);
    let routes = Router::new()
        .route("/echoes", post(echoes))
        .route("/inner_attribute", post(inner_attribute))
        .route("/captures_nothing", post(captures_nothing))
        .route(
            "/function_in_a_type",
            post(function_in_a_type.layer(Extension(again))),
        )
        .route("/recurses", post(recurses))
        .route("/booking", post(booking))
        .route("/local", local())
        .with_state(greeter);
    let router = protected(routes);

    assert_eq!(runs_once(&router, "/echoes").await, "{}");
    assert_eq!(runs_once(&router, "/inner_attribute").await, "{}");
    assert_eq!(runs_once(&router, "/captures_nothing").await, "nothing");
    assert_eq!(
        runs_once(&router, "/function_in_a_type").await,
        "Hello, Ann"
    );
    assert_eq!(runs_once(&router, "/recurses").await, "empty");
    assert_eq!(runs_once(&router, "/booking").await, "{}!");
    assert_eq!(runs_once(&router, "/local").await, "inside");
}
