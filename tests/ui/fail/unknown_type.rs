//! The compiler says it twice, because the constant repeats the types of the arguments.

use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent]
async fn create(_: Missing) {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
