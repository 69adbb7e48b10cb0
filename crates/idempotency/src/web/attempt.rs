//! The handler's run, up to the last byte of its response.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use axum::response::Response;
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, Ready, ready},
};
use http::{HeaderValue, StatusCode};

use super::{
    commit::Stored,
    exchange::Called,
    policy::{self, ProducedBy},
    problem::{NOT_COMMITTED, Problem},
    refusal::settle,
    saved_response,
};
use crate::{
    Disposition, Execution, HttpConfig, Idempotency,
    engine::{Persist, WorkResult},
    execution::{Ended, OutcomeKind},
    log_text::Causes,
    options::Keep,
    outcome,
    store::transaction::NewOutcome,
};

/// What a run comes to, at once, or after a wait that hardly any run has.
type Conclusion = Either<Ready<WorkResult<Response>>, BoxFuture<'static, WorkResult<Response>>>;

/// Calls the handler, inside the engine's task, and decides what is stored for it.
// Of combinators, because the future is part of a box.
pub(super) fn attempt<C>(
    idempotency: Idempotency,
    keep: Keep,
    execution: Execution,
    call: C,
) -> impl Future<Output = WorkResult<Response>>
where
    C: Future<Output = Called>,
{
    call.then(move |called| conclude(idempotency, keep, execution, called))
}

fn conclude(
    idempotency: Idempotency,
    keep: Keep,
    execution: Execution,
    (answered, produced_by): Called,
) -> Conclusion {
    let answered = answered.map(|response| settle(idempotency.http(), response));
    let called = (answered, produced_by);
    match execution.close() {
        Some(ended) => after(idempotency, keep, execution, called, ended),
        None => Either::Right(Box::pin(async move {
            let ended = execution.resolved().await;
            after(idempotency, keep, execution, called, ended).await
        })),
    }
}

/// What follows how far the run has ended itself.
fn after(
    idempotency: Idempotency,
    keep: Keep,
    execution: Execution,
    (answered, produced_by): Called,
    ended: Ended,
) -> Conclusion {
    let config = idempotency.http();
    let ending = match ended {
        Ended::Open => {
            let ttl = answered.as_ref().ok();
            let ttl = ttl.and_then(|response| response.extensions().get().copied());
            let ttl = ttl.and_then(|ttl| execution.kept(ttl));
            let saving = Saving {
                limit: idempotency.store().outcome_limit(),
                kind: execution.outcome_kind(),
                idempotency,
            };
            let is_transactional = execution.is_transactional();
            let decided = decide(saving, keep, is_transactional, answered, produced_by);
            return match decided {
                Ok(WorkResult {
                    response,
                    persist: Persist::Outcome(NewOutcome { bytes, .. }),
                }) => Either::Left(ready(WorkResult {
                    response,
                    persist: Persist::Outcome(NewOutcome { bytes, ttl }),
                })),
                decided => Either::Right(Box::pin(async move {
                    let WorkResult { response, persist } = match decided {
                        Ok(ending) => ending,
                        Err(ending) => ending.await,
                    };
                    let persist = match persist {
                        Persist::Outcome(NewOutcome { bytes, .. }) => {
                            Persist::Outcome(NewOutcome { bytes, ttl })
                        }
                        persist => execution.with_steps(persist).await,
                    };
                    WorkResult { response, persist }
                })),
            };
        }
        Ended::Committed { outcome, persist } => {
            let response = match answered {
                Ok(response) if response.extensions().get::<Stored>().is_some() => response,
                // Retries get the committed response, not what the handler returns afterwards.
                _ => saved_response::decode(outcome)
                    .unwrap_or_else(|problem| unrepeated(problem, config)),
            };
            WorkResult { response, persist }
        }
        Ended::Superseded => WorkResult {
            response: Response::default(),
            persist: Persist::Superseded,
        },
        Ended::CommitUnknown { is_shared } => WorkResult {
            response: Problem::CommitUnknown { is_shared }.into_response(config),
            persist: Persist::OutcomeUnknown,
        },
    };
    Either::Left(ready(ending))
}

/// What is stored, at once, or after more of the response's body has come. Hardly any body has to be waited for.
type AtOnce = Result<WorkResult<Response>, BoxFuture<'static, WorkResult<Response>>>;

/// How responses become bytes.
struct Saving {
    idempotency: Idempotency,
    limit: usize,
    kind: OutcomeKind,
}

/// What is stored for a run that did not end itself.
fn decide(
    saving: Saving,
    keep: Keep,
    is_transactional: bool,
    answered: thread::Result<Response>,
    produced_by: ProducedBy,
) -> AtOnce {
    let Ok(response) = answered else {
        let response = Problem::HandlerPanicked.into_response(saving.idempotency.http());
        return match (keep, produced_by) {
            (Keep::All, ProducedBy::Handler | ProducedBy::Service) => store(saving, keep, response),
            // A panic of an extractor comes before the handler, so nothing was done.
            (Keep::Final | Keep::Success, _) | (_, ProducedBy::BeforeHandler) => {
                Ok(release(response))
            }
        };
    };
    let is_stored = policy::is_stored(&response, produced_by, keep);
    if is_transactional && is_stored && !is_failure(response.status()) {
        tracing::error!("{NOT_COMMITTED}");
        let problem = Problem::Misconfigured(NOT_COMMITTED);
        return Ok(release(problem.into_response(saving.idempotency.http())));
    }
    if is_stored {
        return store(saving, keep, response);
    }
    // A transaction that was cut off has left no changes.
    if policy::may_be_cut_off(&response, produced_by) && !is_transactional {
        tracing::warn!(
            status = response.status().as_u16(),
            "a layer inside of the protection may have stopped a run; its key stays taken until its lease expires: put time \
             limits outside, or mark a response that reports no change with Disposition::Release",
        );
        return Ok(WorkResult {
            response,
            persist: Persist::OutcomeUnknown,
        });
    }
    Ok(release(response))
}

fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn release(response: Response) -> WorkResult<Response> {
    WorkResult {
        response,
        persist: Persist::Nothing,
    }
}

fn store(saving: Saving, keep: Keep, response: Response) -> AtOnce {
    let config = saving.idempotency.http();
    let (limit, kind) = (saving.limit, saving.kind);
    let stands = !is_failure(response.status())
        || matches!(
            response.extensions().get(),
            Some(Disposition::Store | Disposition::Tombstone)
        );
    let location = saved_response::kept_location(config, response.headers()).cloned();
    // Its body can fail, and panic.
    let save = || saved_response::save_at_once(config, limit, kind, response);
    let saved = catch_unwind(AssertUnwindSafe(save));
    let unsaved = Unsaved {
        saving,
        keep,
        stands,
        location,
    };
    let saved = match saved {
        Ok(Ok(saved)) => Ok(saved),
        Ok(Err(unread)) => {
            return Err(Box::pin(async move {
                let config = unsaved.saving.idempotency.http();
                let saved = saved_response::save_rest(config, limit, *unread);
                match checked(AssertUnwindSafe(saved).catch_unwind().await) {
                    Ok(ending) => ending,
                    Err(problem) => unsaved.end(problem).await,
                }
            }));
        }
        Err(panic) => Err(panic),
    };
    match checked(saved) {
        Ok(ending) => Ok(ending),
        Err(problem) => Err(Box::pin(unsaved.end(problem))),
    }
}

/// A response that cannot be stored.
struct Unsaved {
    saving: Saving,
    keep: Keep,
    /// Whether the response says that the run took effect.
    stands: bool,
    location: Option<HeaderValue>,
}

impl Unsaved {
    /// What is stored in its place.
    async fn end(self, problem: Problem) -> WorkResult<Response> {
        let config = self.saving.idempotency.http();
        let (limit, kind) = (self.saving.limit, self.saving.kind);
        if self.stands {
            // The run took effect, although its response cannot be sent.
            let tombstone = match kind {
                OutcomeKind::Response => saved_response::tombstone_at(self.location.as_ref()),
                _ => outcome::tombstone(0).into(),
            };
            return WorkResult {
                response: unrepeated(problem, config),
                persist: Persist::Outcome(tombstone.into()),
            };
        }
        let problem = problem.into_response(config);
        match self.keep {
            Keep::All => {
                let saved = saved_response::save(config, limit, kind, problem);
                match checked(AssertUnwindSafe(saved).catch_unwind().await) {
                    Ok(ending) => ending,
                    Err(problem) => release(problem.into_response(config)),
                }
            }
            Keep::Final | Keep::Success => release(problem),
        }
    }
}

/// What a response comes to that was saved, or whose body failed.
fn checked(
    saved: thread::Result<Result<(Response, Bytes), axum::Error>>,
) -> Result<WorkResult<Response>, Problem> {
    match saved {
        Ok(Ok((response, outcome))) => Ok(WorkResult {
            response,
            persist: Persist::Outcome(outcome.into()),
        }),
        Ok(Err(error)) => {
            tracing::error!(
                error = %Causes(&error),
                "the body of a response broke off"
            );
            Err(Problem::ResponseBroken)
        }
        Err(_) => Err(Problem::HandlerPanicked),
    }
}

/// Marks a response in place of the run's own. Retries get another one, so it announces no expiry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unrepeated;

fn unrepeated(problem: Problem, config: &HttpConfig) -> Response {
    let mut response = problem.into_response(config);
    response.extensions_mut().insert(Unrepeated);
    response
}
