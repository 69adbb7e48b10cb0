//! How long the engine waits for its store.

use std::{pin::pin, time::Duration};

use futures_util::FutureExt;

use super::metrics::StoreCall;
use crate::{Store, store::StoreError};

/// How long one call of the store may take. After that the call counts as failed, and what it may have done is undone in
/// the background.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Awaits the store's response, and fails once that takes too long. Either error names the store.
pub(super) async fn with_store_timeout<T>(
    store: &dyn Store,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let measured = StoreCall::start();
    let mut call = pin!(call);
    // A memory store has responded already, and needs no timer.
    let response = match call.as_mut().now_or_never() {
        Some(response) => response,
        // Boxed, because every request's future would have to hold the timer otherwise.
        None => Box::pin(tokio::time::timeout(STORE_TIMEOUT, call))
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("no response within 5 seconds"))),
    };
    measured.end(store.name(), &response);
    response.map_err(|error| error.with_store(store.name()))
}
