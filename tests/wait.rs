//! Waits for a signal.

use std::time::Duration;

/// The result of a wait that a bug would make endless. The text names what is waited for.
///
/// # Panics
///
/// After a minute.
pub async fn within_a_minute<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), wait).await;
    ended.unwrap_or_else(|_| panic!("a minute has passed without: {what}"))
}
