use axum::{Router, routing::post};
use idempotency::idempotent;

use std::rc::Rc;

#[idempotent]
async fn create() {
    let shared = Rc::new(());
    std::future::ready(()).await;
    drop(shared);
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
