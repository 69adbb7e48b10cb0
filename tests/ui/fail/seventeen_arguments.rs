use idempotency::idempotent;

use axum::http::Uri;

#[idempotent]
async fn create(
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
) {
}

fn main() {}
