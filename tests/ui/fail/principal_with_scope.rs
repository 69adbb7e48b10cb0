use std::error::Error;

use axum::http::request::Parts;
use idempotency::{Scope, idempotent};

struct Claims;

fn tenant(_: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    Ok(Scope::anonymous())
}

#[idempotent(scope = tenant, principal = Claims)]
async fn create(_: Claims) {}

fn main() {
    let _ = (create, tenant);
}
