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
    rebuild::{self, Rebuild},
    refusal::settle,
    request::{self, Methods},
    saved_response,
};
use crate::{
    Disposition, Execution, HttpConfig, HttpRejection, Idempotency, Keep, Options,
    engine::{Executed, Finished, NextAction, Persist, RequestOutcome, Tally, WorkResult},
    execution::{Ended, OutcomeKind},
    log_text::Causes,
    outcome,
    store::transaction::NewOutcome,
};

/// The result of the call, a response or a panic, and what produced it.
pub(super) type Called = (thread::Result<Response>, ProducedBy);

/// How the requests of one handler or layer are carried out.
pub(super) struct Handling<F> {
    /// Calls the handler.
    pub(super) call: F,
    /// Makes a response again from the value that was stored for it.
    pub(super) rebuild: Option<Rebuild>,
}

/// Responds to a request: by a refusal, by the stored response, or by calling the handler at most once.
pub(super) async fn protect<C>(
    idempotency: &Idempotency,
    options: &Options,
    methods: Methods,
    body_limit: Option<usize>,
    request: Request,
    handling: Handling<impl FnOnce(Request) -> C + Send + 'static>,
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
        handling,
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
    handling: Handling<impl FnOnce(Request) -> C + Send + 'static>,
) -> Result<Response, Problem>
where
    C: Future<Output = Called> + Send + 'static,
{
    let options = &idempotency.effective(options);
    let config = idempotency.http();
    let Handling { call, rebuild } = handling;
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

    let kind = match rebuild {
        Some(_) => OutcomeKind::ReplayValue,
        None => OutcomeKind::Response,
    };
    // A run may turn out to be a retry, because another run was faster.
    let rebuilding = rebuild.map(|rebuild| (rebuild, request.clone()));

    let mut has_run = false;
    let finished = match idempotency.begin(operation, options, patience).await? {
        NextAction::Run(won) => {
            let execution = Execution::of(&won, kind);
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
            let replayed = match rebuilding {
                Some((rebuild, request)) => rebuild::replay(config, replay, rebuild, request).await,
                None => saved_response::replay(config, replay),
            };
            match replayed {
                Ok(response) => {
                    let is_replay = response.headers().contains_key(&config.replayed);
                    tally.note(if is_replay {
                        RequestOutcome::Replayed
                    } else {
                        RequestOutcome::ReplayFailed
                    });
                    Ok(response)
                }
                Err(problem @ Problem::ResponseUnavailable) => {
                    tally.note(RequestOutcome::ReplayFailed);
                    Err(problem)
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
    let saving = Saving {
        config,
        limit: idempotency.store().outcome_limit(),
        kind: execution.outcome_kind(),
    };
    let (answered, produced_by) = call.await;
    let answered = answered.map(|response| settle(config, response));
    let ttl = answered.as_ref().ok();
    let ttl = ttl.and_then(|response| response.extensions().get().copied());
    match execution.ended().await {
        Ended::Open => {
            let is_transactional = execution.is_transactional();
            let WorkResult { response, persist } =
                decide(&saving, keep, is_transactional, answered, produced_by).await;
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

/// How responses become bytes.
struct Saving<'a> {
    config: &'a HttpConfig,
    limit: usize,
    kind: OutcomeKind,
}

/// What is stored for a run that did not end itself.
async fn decide(
    saving: &Saving<'_>,
    keep: Keep,
    is_transactional: bool,
    answered: thread::Result<Response>,
    produced_by: ProducedBy,
) -> WorkResult<Response> {
    let Ok(response) = answered else {
        let response = Problem::HandlerPanicked.into_response(saving.config);
        return match (keep, produced_by) {
            (Keep::All, ProducedBy::Handler | ProducedBy::Service) => {
                store(saving, keep, response).await
            }
            // A panic of an extractor comes before the handler, so nothing was done.
            (Keep::Final | Keep::Success, _) | (_, ProducedBy::BeforeHandler) => release(response),
        };
    };
    let is_stored = policy::is_stored(&response, produced_by, keep);
    if is_transactional && is_stored && !is_failure(response.status()) {
        tracing::error!("{NOT_COMMITTED}");
        return release(Problem::Misconfigured(NOT_COMMITTED).into_response(saving.config));
    }
    if is_stored {
        return store(saving, keep, response).await;
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

async fn store(saving: &Saving<'_>, keep: Keep, response: Response) -> WorkResult<Response> {
    let config = saving.config;
    let stands = !is_failure(response.status())
        || matches!(
            response.extensions().get(),
            Some(Disposition::Store | Disposition::Tombstone)
        );
    let tombstone = match saving.kind {
        OutcomeKind::Response => saved_response::tombstone(config, response.headers()),
        _ => outcome::tombstone(0).into(),
    };
    let problem = match save(saving, response).await {
        Ok(ending) => return ending,
        Err(problem) => problem,
    };
    if stands {
        // The run took effect, although its response cannot be sent.
        return WorkResult {
            response: unrepeated(problem, config),
            persist: Persist::Outcome(tombstone.into()),
        };
    }
    let problem = problem.into_response(config);
    match keep {
        Keep::All => match save(saving, problem).await {
            Ok(ending) => ending,
            Err(problem) => release(problem.into_response(config)),
        },
        Keep::Final | Keep::Success => release(problem),
    }
}

/// Marks a response in place of the run's own. Retries get a different response, so it announces no expiry.
#[derive(Clone, Copy, Debug)]
struct Unrepeated;

fn unrepeated(problem: Problem, config: &HttpConfig) -> Response {
    let mut response = problem.into_response(config);
    response.extensions_mut().insert(Unrepeated);
    response
}

/// Reads the response to its end and serializes it. Its body can fail, and panic.
async fn save(saving: &Saving<'_>, response: Response) -> Result<WorkResult<Response>, Problem> {
    let Saving {
        config,
        limit,
        kind,
    } = *saving;
    let saved = saved_response::save(config, limit, kind, response);
    match AssertUnwindSafe(saved).catch_unwind().await {
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
