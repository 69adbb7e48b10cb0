use axum::response::Response;
use idempotency::{CommitError, Execution, idempotent};

struct Pool;

#[idempotent(transactional)]
async fn create(execution: Execution) -> Result<Response, CommitError> {
    execution.commit(Pool, "booked").await
}

fn main() {
    let _ = create;
}
