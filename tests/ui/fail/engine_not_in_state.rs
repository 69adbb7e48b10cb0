use axum::{Router, routing::post};
use idempotency::idempotent;

#[derive(Clone)]
struct App;

#[idempotent(engine = "state")]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create)).with_state(App);
}
