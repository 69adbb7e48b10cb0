//! Tasks: shuttle's, counted.

pub use shuttle::future::JoinError;
pub use shuttle::future::JoinHandle;
pub use shuttle::future::yield_now;

use crate::execution::Running;

/// Spawns a task.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let running = Running::start();
    shuttle::future::spawn(async move {
        let _running = running;
        future.await
    })
}
