use axum::{Router, routing::post};
use idempotency::{Principal, Scope, idempotent};

struct Claims;

impl Principal for Claims {
    fn scope(&self) -> Scope {
        Scope::principal("ann")
    }
}

#[idempotent(ttl_seconds = 60, principal = Claims)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
