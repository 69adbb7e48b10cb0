//! A signal in the middle of changes.

use idempotency::log_text::Causes;
use tokio::sync::oneshot;

use crate::shutdown::Signals;

/// The result of these changes. A signal drops the one that is under way, and the audit log then says that its result is unknown; a second signal ends
/// the process.
pub(super) async fn unless_interrupted<T>(
    changes: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut signals = Signals::listen().map_err(|error| Causes(&error).to_string())?;
    let (interrupting, interrupted) = oneshot::channel();
    // Another task, because a change may be waiting for standard output to be read.
    tokio::spawn(async move {
        signals.next().await;
        // It fails if the changes have ended.
        let _ = interrupting.send(());
        signals.exit_at_the_next();
    });
    tokio::select! {
        biased;
        changed = changes => changed,
        _ = interrupted => Err("interrupted: the change that was under way may have been made".into()),
    }
}
