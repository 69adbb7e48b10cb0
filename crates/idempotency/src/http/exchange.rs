//! One request from its head to its answer: what attributed handlers and layers have in common.

use std::panic::AssertUnwindSafe;

use axum::{extract::Request, response::Response};
use futures_util::FutureExt;

use super::{
    HttpConfig,
    policy::{self, Author},
    problem::Problem,
    request::{self, Methods},
    saved_response,
};
use crate::{
    Idempotency, Keep, Options,
    engine::{Begun, Ending, Executed, Finished},
};

/// Says of a request that an engine protects it.
#[derive(Clone, Copy, Debug)]
struct Protected;

/// Answers a request: by a refusal, by the stored answer, or by calling on, which happens at most once.
pub(super) async fn protect<C>(
    idempotency: &Idempotency,
    options: &Options,
    methods: Methods,
    request: Request,
    call: impl FnOnce(Request) -> C + Send + 'static,
) -> Response
where
    C: Future<Output = (Response, Author)> + Send + 'static,
{
    match exchange(idempotency, options, methods, request, call).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(idempotency.http()),
    }
}

async fn exchange<C>(
    idempotency: &Idempotency,
    options: &Options,
    methods: Methods,
    request: Request,
    call: impl FnOnce(Request) -> C + Send + 'static,
) -> Result<Response, Problem>
where
    C: Future<Output = (Response, Author)> + Send + 'static,
{
    let config = idempotency.http();
    let Some(key) = request::key(config, options, methods, &request)? else {
        return Ok(call(request).await.0);
    };
    let mut request = request::complete(request).await?;
    if request.parts.extensions.insert(Protected).is_some() {
        return Err(Problem::Misconfigured(
            "This endpoint is protected twice: by #[idempotent] and by an IdempotencyLayer around it, or by two layers.",
        ));
    }
    let scope = request.scope(options)?;
    let operation = idempotency.operation(&scope, &key, &request.fingerprint(options));
    let patience = request::patience(options, &request.parts.headers);

    let finished = match idempotency.begin(operation, options, patience).await? {
        Begun::Won(won) => {
            let call = call(request.into_request());
            won.run(attempt(idempotency.clone(), options.keep, call))
                .await?
        }
        Begun::Replayed(replay) => Finished::Replayed(replay),
    };
    match finished {
        Finished::Executed(Executed {
            answer: mut response,
            expires_at,
        }) => {
            response.headers_mut().remove(&config.replayed);
            if let Some(expires_at) = expires_at {
                saved_response::announce_expiry(config, &mut response, expires_at);
            }
            Ok(response)
        }
        Finished::Replayed(replay) => saved_response::replay(config, replay),
    }
}

/// The handler's run, up to the last byte of its answer, inside the engine's task.
async fn attempt(
    idempotency: Idempotency,
    keep: Keep,
    call: impl Future<Output = (Response, Author)>,
) -> Ending<Response> {
    let config = idempotency.http();
    let limit = idempotency.store().outcome_limit();
    let answered = AssertUnwindSafe(async {
        let (response, author) = call.await;
        finish(config, limit, keep, response, author).await
    });
    match answered.catch_unwind().await {
        Ok(ending) => ending,
        Err(_) => {
            let response = Problem::HandlerPanicked.into_response(config);
            match keep {
                Keep::All => store(config, limit, response).await,
                Keep::Final => Ending {
                    answer: response,
                    outcome: None,
                },
            }
        }
    }
}

async fn finish(
    config: &HttpConfig,
    limit: usize,
    keep: Keep,
    response: Response,
    author: Author,
) -> Ending<Response> {
    match policy::is_stored(&response, author, keep) {
        true => store(config, limit, response).await,
        false => Ending {
            answer: response,
            outcome: None,
        },
    }
}

async fn store(config: &HttpConfig, limit: usize, response: Response) -> Ending<Response> {
    match saved_response::save(config, limit, response).await {
        Ok((answer, outcome)) => Ending {
            answer,
            outcome: Some(outcome),
        },
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the body of a response broke off"
            );
            Ending {
                answer: Problem::ResponseBroken.into_response(config),
                outcome: None,
            }
        }
    }
}
