//! One request from its head to its response: what attributed handlers and layers have in common.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    thread,
};

use axum::{extract::Request, response::Response};
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, header};
use tracing::Instrument;

use super::{
    caller,
    commit::{Stored, Unprotected},
    own_key::Keyed,
    policy::{self, ProducedBy},
    problem::{NOT_COMMITTED, Problem},
    read_on::read_on,
    refusal::settle,
    request::{self, Methods},
    saved_response,
};
use crate::{
    Disposition, Execution, HttpConfig, HttpRejection, Idempotency, Keep, Options,
    engine::{Executed, Finished, NextAction, Persist, RequestOutcome, Tally, WorkResult},
    execution::{Ended, OutcomeKind},
    log_text::Causes,
    store::transaction::NewOutcome,
};

/// The result of the call, a response or a panic, and what produced it.
pub(super) type Called = (thread::Result<Response>, ProducedBy);

/// Responds to a request: by a refusal, by the stored response, or by calling the handler at most once.
pub(super) async fn protect<C>(
    idempotency: &Idempotency,
    options: &Options,
    methods: Methods,
    body_limit: Option<usize>,
    request: Request,
    call: impl FnOnce(Request) -> C + Send + 'static,
) -> Response
where
    C: Future<Output = Called> + Send + 'static,
{
    let mut tally = if methods.protect(request.method()) {
        Tally::start(idempotency).observed_by(request.extensions().get().cloned())
    } else {
        Tally::silent()
    };
    let span = tally.span();
    let exchange = exchange(
        idempotency,
        &mut tally,
        options,
        methods,
        body_limit,
        request,
        call,
    );
    match exchange.instrument(span).await {
        Ok(response) => response,
        Err(problem) => {
            tally.note(problem.outcome());
            problem.into_response(idempotency.http())
        }
    }
}

async fn exchange<C>(
    idempotency: &Idempotency,
    tally: &mut Tally,
    options: &Options,
    methods: Methods,
    body_limit: Option<usize>,
    request: Request,
    call: impl FnOnce(Request) -> C + Send + 'static,
) -> Result<Response, Problem>
where
    C: Future<Output = Called> + Send + 'static,
{
    let options = &idempotency.effective(options);
    let config = idempotency.http();
    let (head, body) = request.into_parts();
    let keyed = request::key(config, options, methods, &head);
    let request = Request::from_parts(head, body);
    let keyed = match keyed {
        Ok(Keyed::Not) => return Ok(unprotected(config, tally, request, call).await),
        Ok(keyed) => keyed,
        Err(problem) => {
            drop(read_on(request));
            return Err(problem);
        }
    };
    if request::is_grpc(request.headers()) {
        drop(read_on(request));
        return Err(Problem::Misconfigured(
            "gRPC sends its status after the body, where a replay would lose it: leave its routes out of the IdempotencyLayer. \
             This attempt had no effect.",
        ));
    }
    let mut request = request::complete(read_on(request), body_limit).await?;
    let Some(key) = request.key(options, keyed)? else {
        return Ok(unprotected(config, tally, request.into_request(), call).await);
    };
    if request.parts.extensions.get::<Execution>().is_some() {
        return Err(Problem::Misconfigured(
            "This endpoint is protected twice: by #[idempotent] and by an IdempotencyLayer around it, or by two layers.",
        ));
    }
    let caller = request.caller(idempotency, options)?;
    let fingerprint = request.fingerprint(options, caller.cookies.as_deref());
    let origin = request.origin();
    let operation = idempotency.operation(options, &caller.scope, &key, &fingerprint, &origin);
    tally.record(operation.id);
    let patience = request::patience(options, &request.parts.headers);

    // What is stored has to suit every retry, including one that does not accept gzip.
    let headers = &mut request.parts.headers;
    if headers.contains_key(header::ACCEPT_ENCODING) {
        let identity = HeaderValue::from_static("identity");
        headers.insert(header::ACCEPT_ENCODING, identity);
    }

    let mut has_run = false;
    let finished = match idempotency.begin(operation, options, patience).await? {
        NextAction::Run(won) => {
            let execution = Execution::of(&won, OutcomeKind::Response);
            request.parts.extensions.insert(execution.clone());
            let call = call(request.into_request());
            let attempt = attempt(idempotency.clone(), options.keep, execution, call);
            has_run = true;
            won.run(tally, attempt).await?
        }
        NextAction::Replay(replay) => Finished::Replayed(replay),
    };
    match finished {
        Finished::Executed(Executed {
            mut response,
            expires_at,
        }) => {
            // A handler may pass on the response of another service, whose fields say nothing of this key.
            response.headers_mut().remove(&config.replayed);
            response.headers_mut().remove(&config.expires);
            if response.extensions().get::<HttpRejection>().is_none() {
                response.headers_mut().remove(&config.problem);
            }
            let is_unrepeated = response.extensions_mut().remove::<Unrepeated>().is_some();
            if let Some(expires_at) = expires_at.filter(|_| !is_unrepeated) {
                caller::warn_of_inner_cors(config, response.headers());
                saved_response::announce_expiry(config, &mut response, expires_at);
            }
            Ok(response)
        }
        Finished::Replayed(replay) => {
            tally.record(replay.record);
            match saved_response::replay(config, replay) {
                Ok(response) => {
                    tally.note(RequestOutcome::Replayed);
                    Ok(response)
                }
                Err(Problem::StoreUnavailable(_)) if has_run => Err(Problem::ResponseUnavailable),
                Err(problem) => Err(problem),
            }
        }
    }
}

/// The response to a request without a key.
async fn unprotected<C>(
    config: &HttpConfig,
    tally: &mut Tally,
    mut request: Request,
    call: impl FnOnce(Request) -> C,
) -> Response
where
    C: Future<Output = Called>,
{
    tally.note(RequestOutcome::Unprotected);
    request.extensions_mut().insert(Unprotected);
    match call(request).await.0 {
        Ok(response) => settle(config, response),
        // Without a key a panic propagates as it would without protection.
        Err(panic) => resume_unwind(panic),
    }
}

/// The handler's run, up to the last byte of its response, inside the engine's task.
async fn attempt(
    idempotency: Idempotency,
    keep: Keep,
    execution: Execution,
    call: impl Future<Output = Called>,
) -> WorkResult<Response> {
    let config = idempotency.http();
    let limit = idempotency.store().outcome_limit();
    let (answered, produced_by) = call.await;
    let answered = answered.map(|response| settle(config, response));
    let ttl = answered.as_ref().ok();
    let ttl = ttl.and_then(|response| response.extensions().get().copied());
    match execution.ended().await {
        Ended::Open => {
            let is_transactional = execution.is_transactional();
            let WorkResult { response, persist } =
                decide(config, limit, keep, is_transactional, answered, produced_by).await;
            let persist = match persist {
                Persist::Outcome(NewOutcome { bytes, .. }) => {
                    let ttl = ttl.and_then(|ttl| execution.kept(ttl));
                    Persist::Outcome(NewOutcome { bytes, ttl })
                }
                persist => persist,
            };
            WorkResult {
                response,
                persist: execution.with_steps(persist).await,
            }
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
    }
}

/// What is stored for a run that did not end itself.
async fn decide(
    config: &HttpConfig,
    limit: usize,
    keep: Keep,
    is_transactional: bool,
    answered: thread::Result<Response>,
    produced_by: ProducedBy,
) -> WorkResult<Response> {
    let Ok(response) = answered else {
        let response = Problem::HandlerPanicked.into_response(config);
        return match (keep, produced_by) {
            (Keep::All, ProducedBy::Handler | ProducedBy::Service) => {
                store(config, limit, keep, response).await
            }
            // A panic of an extractor comes before the handler, so nothing was done.
            (Keep::Final | Keep::Success, _) | (_, ProducedBy::BeforeHandler) => release(response),
        };
    };
    let is_stored = policy::is_stored(&response, produced_by, keep);
    if is_transactional && is_stored && !is_failure(response.status()) {
        tracing::error!("{NOT_COMMITTED}");
        return release(Problem::Misconfigured(NOT_COMMITTED).into_response(config));
    }
    if is_stored {
        return store(config, limit, keep, response).await;
    }
    // A transaction that was cut off has left no changes.
    if policy::may_be_cut_off(&response, produced_by) && !is_transactional {
        tracing::warn!(
            status = response.status().as_u16(),
            "a layer inside of the protection may have stopped a run; its key stays taken until its lease expires: put time \
             limits outside, or mark a response that reports no change with Disposition::Release",
        );
        return WorkResult {
            response,
            persist: Persist::OutcomeUnknown,
        };
    }
    release(response)
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

async fn store(
    config: &HttpConfig,
    limit: usize,
    keep: Keep,
    response: Response,
) -> WorkResult<Response> {
    let stands = !is_failure(response.status())
        || matches!(
            response.extensions().get(),
            Some(Disposition::Store | Disposition::Tombstone)
        );
    let location = response.headers().get(header::LOCATION).cloned();
    let problem = match save(config, limit, response).await {
        Ok(ending) => return ending,
        Err(problem) => problem,
    };
    if stands {
        // The run took effect, although its response cannot be sent.
        return WorkResult {
            response: unrepeated(problem, config),
            persist: Persist::Outcome(saved_response::tombstone(location.as_ref()).into()),
        };
    }
    let problem = problem.into_response(config);
    match keep {
        Keep::All => match save(config, limit, problem).await {
            Ok(ending) => ending,
            Err(problem) => release(problem.into_response(config)),
        },
        Keep::Final | Keep::Success => release(problem),
    }
}

/// Marks a response in place of the run's own. Retries get another one, so it announces no expiry.
#[derive(Clone, Copy, Debug)]
struct Unrepeated;

fn unrepeated(problem: Problem, config: &HttpConfig) -> Response {
    let mut response = problem.into_response(config);
    response.extensions_mut().insert(Unrepeated);
    response
}

/// Reads the response to its end and serializes it. Its body can fail, and panic.
async fn save(
    config: &HttpConfig,
    limit: usize,
    response: Response,
) -> Result<WorkResult<Response>, Problem> {
    let saved = AssertUnwindSafe(saved_response::save(config, limit, response)).catch_unwind();
    match saved.await {
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
