//! The engine without HTTP, as a queue consumer calls it; and the layer around services that are not axum's.

mod at_once;
mod busy;
#[cfg(feature = "sqlite")]
mod commits;
#[path = "../support/delegate.rs"]
pub mod delegate;
#[cfg(feature = "macros")]
mod doubtful;
mod duplicates;
#[cfg(feature = "axum")]
mod endless;
mod erased;
mod executions;
#[cfg(feature = "macros")]
mod failed;
mod flaky;
mod late;
#[cfg(feature = "axum")]
mod layer;
mod life;
mod lost;
#[cfg(all(feature = "macros", feature = "sqlite"))]
mod misused;
mod named;
mod outages;
mod outcomes;
mod renewals;
mod rotation;
mod rotation_failures;
mod scope_limits;
mod sealed;
mod settings;
mod stopping;
mod stragglers;
#[cfg(feature = "sqlite")]
mod unheard;
mod waiting;
mod watched;
mod wrapped;

use idempotency::{
    Execution, Fingerprint, Idempotency, IdempotencyKey, Options, Run, RunError, Scope,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// The error of work that fails.
#[derive(Debug, PartialEq)]
struct Failed;

type RunResult<T> = Result<Run<T>, RunError<Failed>>;

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

fn asked(text: &str) -> Fingerprint {
    Fingerprint::of([text.as_bytes()])
}

/// Runs this under the key "k" with the fingerprint of "charge".
async fn charge<T>(
    idempotency: &Idempotency,
    work: impl Future<Output = Result<T, Failed>> + Send + 'static,
) -> RunResult<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    charge_with(idempotency, &Options::new(), work).await
}

/// A charge that has begun, and the sender that lets it end with 1.
async fn begun_charge(
    idempotency: &Idempotency,
) -> (JoinHandle<RunResult<u32>>, oneshot::Sender<()>) {
    begun(idempotency, Scope::anonymous(), "k").await
}

/// The same under this key of this scope.
async fn begun(
    idempotency: &Idempotency,
    scope: Scope,
    name: &str,
) -> (JoinHandle<RunResult<u32>>, oneshot::Sender<()>) {
    let (finish, finished) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let (idempotency, key) = (idempotency.clone(), key(name));
    let run = tokio::spawn(async move {
        let work = async move {
            begun.send(()).expect("the test waits");
            finished.await.expect("a word");
            Ok(1)
        };
        idempotency.run(&scope, &key, asked("charge"), work).await
    });
    has_begun.await.expect("it begins");
    (run, finish)
}

async fn charge_with<T>(
    idempotency: &Idempotency,
    options: &Options,
    work: impl Future<Output = Result<T, Failed>> + Send + 'static,
) -> RunResult<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let (scope, key) = (Scope::anonymous(), key("k"));
    idempotency
        .run_with(options, &scope, &key, asked("charge"), |_| work)
        .await
}

/// A different request under the same key.
async fn refund(idempotency: &Idempotency, value: u32) -> RunResult<u32> {
    let (scope, key) = (Scope::anonymous(), key("k"));
    idempotency
        .run(&scope, &key, asked("refund"), async move { Ok(value) })
        .await
}

/// Runs this with an execution under the key "k" and the fingerprint of "charge".
async fn execute<T, E, W>(
    idempotency: &Idempotency,
    options: &Options,
    work: impl FnOnce(Execution) -> W + Send + 'static,
) -> Result<Run<T>, RunError<E>>
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    E: Send + 'static,
    W: Future<Output = Result<T, E>> + Send + 'static,
{
    let (scope, key) = (Scope::anonymous(), key("k"));
    idempotency
        .run_with(options, &scope, &key, asked("charge"), work)
        .await
}
