//! `Execution::commit`: commits the handler's transaction together with its response.

use std::{error::Error, sync::Arc};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use parking_lot::Mutex;

use super::{problem::Problem, refusal::settle, saved_response};
use crate::{
    CommitError, Execution, HttpConfig, Idempotency, StepError,
    execution::OutcomeKind,
    http_config::traceresponse,
    log_text::Causes,
    store::{Transaction, transaction::NewOutcome},
};

/// Marks a response that its run has committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored;

impl Execution {
    /// Commits the transaction, the key and this response together, and returns the response.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # mod example {
    /// use axum::{extract::State, http::StatusCode, response::Response};
    /// use idempotency::{CommitError, Execution, idempotent};
    /// use sqlx::PgPool;
    ///
    /// #[idempotent(ttl_seconds = 3600, transactional)]
    /// async fn book(
    ///     State(pool): State<PgPool>,
    ///     execution: Execution,
    ///     guest: String,
    /// ) -> Result<Response, CommitError> {
    ///     let mut transaction = pool.begin().await?;
    ///     sqlx::query("insert into bookings (guest) values ($1)")
    ///         .bind(guest)
    ///         .execute(&mut *transaction)
    ///         .await?;
    ///     execution.commit(transaction, StatusCode::CREATED).await
    /// }
    /// # }
    /// ```
    ///
    /// Every retry gets this response, whatever its status, and whatever the handler does with it afterwards.
    ///
    /// In transactional mode the record is first written by this commit. Under a lease the commit completes the run's
    /// hold, if the run still owns it. If the engine's store is in a different database than the transaction, the run
    /// renews its hold first and stores the response after the commit.
    ///
    /// A PostgreSQL transaction has to be the outermost one, and only this call may end it. It need not be
    /// sqlx 0.9's: see [`Transaction`]. Rows committed in any other way, by SQL of the handler's own or in
    /// another transaction, are not protected: they stay, and a retry adds them again.
    ///
    /// # Errors
    ///
    /// [`CommitError::Superseded`] if another run was first: the transaction is rolled back, and the client gets that run's
    /// response. [`CommitError::Failed`] if the transaction could not be committed. [`CommitError::Unknown`] if the
    /// database did not confirm the commit and is unreachable now. [`CommitError::Misused`] in work under
    /// [`run_with`](Idempotency::run_with), for a second commit, for a PostgreSQL transaction that is nested or was ended
    /// already, or in a transactional handler if the engine's store is in another database, which for PostgreSQL is
    /// checked within the transaction.
    pub async fn commit<T: Transaction>(
        &self,
        transaction: T,
        response: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let response = response.into_response();
        self.commit_then(transaction, move |_| response).await
    }

    /// Like [`commit`](Self::commit), for a response that depends on the transaction's result.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use axum::{extract::State, http::StatusCode, response::Response};
    /// use idempotency::{CommitError, Execution, SqliteDatabase, idempotent};
    ///
    /// #[idempotent(ttl_seconds = 3600, transactional)]
    /// async fn cancel(
    ///     State(database): State<SqliteDatabase>,
    ///     execution: Execution,
    ///     guest: String,
    /// ) -> Result<Response, CommitError> {
    ///     let delete = database.transaction(move |connection| {
    ///         connection.execute("delete from bookings where guest = ?1", [guest])
    ///     });
    ///     let response = |deleted| match deleted {
    ///         0 => StatusCode::NOT_FOUND,
    ///         _ => StatusCode::NO_CONTENT,
    ///     };
    ///     execution.commit_then(delete, response).await
    /// }
    /// # }
    /// ```
    ///
    /// The function is called before the commit. Its response is sent only after the commit.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub async fn commit_then<T: Transaction, R: IntoResponse>(
        &self,
        transaction: T,
        response: impl FnOnce(T::Value) -> R + Send + 'static,
    ) -> Result<Response, CommitError> {
        let (engine, execution) = (self.engine().cloned(), self.clone());
        let made = Arc::new(Mutex::new(None));
        // Here, because the response may be made by a thread of the database, where there is no span.
        let trace = engine
            .as_ref()
            .and_then(|engine| engine.http().traceresponse.as_ref()?.current());
        let ending = {
            let made = Arc::clone(&made);
            move |value| -> BoxFuture<'static, Result<NewOutcome, Box<dyn Error + Send + Sync>>> {
                let mut response = response(value).into_response();
                traceresponse::set(response.headers_mut(), trace);
                Box::pin(async move {
                    let ttl = response.extensions().get();
                    let ttl = ttl.and_then(|ttl| execution.kept(*ttl));
                    let (response, bytes) = match engine {
                        Some(engine) => save(&engine, execution.outcome_kind(), response).await?,
                        None => (response, Bytes::new()),
                    };
                    *made.lock() = Some(response);
                    Ok(NewOutcome { bytes, ttl })
                })
            }
        };
        self.end_with(transaction, OutcomeKind::Response, Box::new(ending))
            .await?;
        let made = made.lock().take();
        made.ok_or(CommitError::Misused(
            "the transaction did not request its response",
        ))
    }
}

/// The response, marked, and its stored form.
async fn save(
    engine: &Idempotency,
    kind: OutcomeKind,
    response: Response,
) -> Result<(Response, Bytes), axum::Error> {
    let mut response = settle(engine.http(), response);
    response.extensions_mut().insert(Stored);
    let limit = engine.store().outcome_limit();
    saved_response::save(engine.http(), limit, kind, response).await
}

/// Marks a request that an engine has seen and does not protect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unprotected;

impl<S: Sync> FromRequestParts<S> for Execution {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        if let Some(execution) = parts.extensions.get::<Self>() {
            return Ok(execution.clone());
        }
        if parts.extensions.get::<Unprotected>().is_some() {
            return Ok(Self::unprotected());
        }
        let missing = "The handler asks for its Execution and is not protected: put #[idempotent] on it, or an \
                       IdempotencyLayer around it.";
        tracing::error!("{missing}");
        Err(Problem::Misconfigured(missing).into_response(&HttpConfig::default()))
    }
}

/// The response if none is stored for the request: 503, to retry with the same key, or 500 for a bug in the program.
impl IntoResponse for CommitError {
    fn into_response(self) -> Response {
        let problem = match &self {
            Self::Superseded => Problem::InProgress,
            Self::Failed(source) | Self::Unknown(source) => {
                tracing::error!(error = %Causes(source.as_ref()), "{self}");
                match self {
                    Self::Failed(_) => Problem::CommitFailed,
                    // For a request with a key the engine determines the outcome, and replaces this response.
                    _ => Problem::CommitUnknown { is_shared: false },
                }
            }
            Self::Misused(what) => {
                tracing::error!("{what}");
                Problem::Misconfigured(what)
            }
        };
        problem.into_provisional_response()
    }
}

/// The work's own error becomes its own response; every other error becomes that of a [`CommitError`].
impl<E: IntoResponse> IntoResponse for StepError<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Failed(error) => error.into_response(),
            Self::Lost => CommitError::Superseded.into_response(),
            Self::Store(error) => {
                tracing::error!(
                    error = %Causes(&error),
                    "the result of a step could not be read or stored"
                );
                Problem::StepNotStored.into_provisional_response()
            }
            Self::Misused(what) => CommitError::Misused(what).into_response(),
        }
    }
}
