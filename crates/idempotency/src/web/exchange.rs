//! One request from its head to its response: what attributed handlers and layers have in common.

use std::thread;

use axum::{extract::Request, response::Response};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use http::{HeaderValue, header};
use tracing::{Instrument, instrument::Instrumented};

use super::{
    attempt::{Unrepeated, attempt},
    caller,
    commit::Unprotected,
    complete::Complete,
    own_key::Keyed,
    policy::ProducedBy,
    problem::Problem,
    read_on::ReadOn,
    rebuild::{self, Rebuild},
    refusal::settle,
    request::{self, Methods},
    saved_response,
};
use crate::{
    Execution, HttpConfig, Idempotency, Options,
    engine::{
        Begun, ClaimedRun, Executed, Finished, NextAction, Replay, RequestOutcome, Tally, Waiting,
    },
    execution::OutcomeKind,
    http_rejection::HttpRejection,
    options::{EffectiveOptions, Keep},
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

/// A request and all that its response is made with.
///
/// It is used in place to the end: each move of it into another future would leave a copy in the box of the request's own. glibc takes a
/// slower path for boxes above a kilobyte, which is why rare paths have boxes of their own here.
pub(super) struct Exchange<F> {
    idempotency: Idempotency,
    tally: Tally,
    options: EffectiveOptions,
    methods: Methods,
    body_limit: Option<usize>,
    request: Complete,
    body: ReadOn,
    /// `None` once it is called.
    call: Option<F>,
    rebuild: Option<Rebuild>,
    /// The same with the request, once it is known.
    rebuilding: Option<Box<(Rebuild, Complete)>>,
}

/// What follows the claim.
enum Next {
    Run(Begun<Response>),
    Replay(Option<Replay>),
    Wait(Option<Box<Waiting>>),
    /// The request has no key.
    Pass,
}

/// A response, at once, or once it is rebuilt.
type Responded<'a> =
    Either<Ready<Result<Response, Problem>>, BoxFuture<'a, Result<Response, Problem>>>;

/// What a run is made of.
struct Prepared<'a, F> {
    request: &'a mut Complete,
    call: &'a mut Option<F>,
    keep: Keep,
    is_rebuilt: bool,
}

/// The tally of a request, which counts nothing of one whose method is not protected.
pub(super) fn tally(idempotency: &Idempotency, methods: Methods, request: &Request) -> Tally {
    if methods.protect(request.method()) {
        Tally::start(idempotency).observed_by(request.extensions().get().cloned())
    } else {
        Tally::silent()
    }
}

impl<F, C> Exchange<F>
where
    F: FnOnce(Request) -> C + Send + 'static,
    C: Future<Output = Called> + Send + 'static,
{
    pub(super) fn new(
        idempotency: Idempotency,
        options: &Options,
        methods: Methods,
        body_limit: Option<usize>,
        request: Request,
        handling: Handling<F>,
    ) -> Self {
        let tally = tally(&idempotency, methods, &request);
        let (head, body) = request.into_parts();
        Self {
            tally,
            options: idempotency.effective(options),
            idempotency,
            methods,
            body_limit,
            body: ReadOn::new(&head, body),
            request: Complete::head(head),
            call: Some(handling.call),
            rebuild: handling.rebuild,
            rebuilding: None,
        }
    }

    /// Responds: by a refusal, by the stored response, or by calling the handler at most once.
    pub(super) fn respond(
        mut self,
    ) -> Instrumented<impl Future<Output = Response> + Send + 'static> {
        let span = self.tally.span();
        // A block, because the future of an `async` function would move `self` within itself.
        let responding = async move {
            match self.exchange().await {
                Ok(response) => response,
                Err(problem) => {
                    self.tally.note(problem.outcome());
                    problem.into_response(self.idempotency.http())
                }
            }
        };
        responding.instrument(span)
    }

    async fn exchange(&mut self) -> Result<Response, Problem> {
        let keyed = self.keyed()?;
        if matches!(keyed, Keyed::Not) {
            let body = self.body.take();
            let request = self.request.take_with(body);
            return Ok(Box::pin(self.unprotected(request)).await);
        }
        self.request.read(&mut self.body, self.body_limit).await?;
        // What is left of it after the call is small.
        let mut next = self.begin(keyed)?;
        match &mut next {
            Next::Run(begun) => {
                let finished = begun.ended(&mut self.tally).await?;
                self.respond_with(finished, true).await
            }
            Next::Replay(replay) => {
                let finished = Finished::Replayed(replay.take().expect("it is taken once"));
                self.respond_with(finished, false).await
            }
            Next::Wait(waiting) => {
                let waiting = waiting.take().expect("it is taken once");
                Box::pin(self.wait(*waiting)).await
            }
            Next::Pass => {
                let request = self.request.take();
                Ok(Box::pin(self.unprotected(request)).await)
            }
        }
    }

    fn keyed(&self) -> Result<Keyed, Problem> {
        let config = self.idempotency.http();
        let head = &self.request.parts;
        let keyed = request::key(config, &self.options, self.methods, head)?;
        if !matches!(keyed, Keyed::Not) && request::is_grpc(&head.headers) {
            return Err(Problem::Misconfigured(
                "gRPC sends its status after the body, where a replay would lose it: leave its routes out of the IdempotencyLayer. \
                 This attempt had no effect.",
            ));
        }
        if let Keyed::By(key) = &keyed {
            self.request
                .check_length(key, &self.idempotency, &self.options)?;
        }
        Ok(keyed)
    }

    /// Claims the key of the request, which has been read.
    fn begin(&mut self, keyed: Keyed) -> Result<Next, Problem> {
        let (idempotency, options) = (&self.idempotency, &self.options);
        let Some(key) = self.request.key(idempotency, options, keyed)? else {
            return Ok(Next::Pass);
        };
        if self.request.parts.extensions.get::<Execution>().is_some() {
            return Err(Problem::Misconfigured(
                "This endpoint is protected twice: by #[idempotent] and by an IdempotencyLayer around it, or by two layers.",
            ));
        }
        let operation = {
            let caller = self.request.caller(idempotency, options)?;
            let fingerprint = self.request.fingerprint(options, caller.cookies.as_deref());
            let origin = self.request.origin(idempotency);
            idempotency.operation(options, &caller.scope, key, &fingerprint, &origin)
        };
        self.tally.record(operation.id);

        // What is stored has to suit every retry, including one that does not accept gzip.
        let headers = &mut self.request.parts.headers;
        if headers.contains_key(header::ACCEPT_ENCODING) {
            let identity = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, identity);
        }

        // A run may turn out to be a retry: another one was faster.
        let rebuild = self.rebuild.take();
        self.rebuilding = rebuild.map(|rebuild| Box::new((rebuild, self.request.clone())));

        match idempotency.begin_at_once(operation, options)? {
            Ok(NextAction::Run(won)) => {
                let prepared = Prepared {
                    request: &mut self.request,
                    call: &mut self.call,
                    keep: self.options.keep,
                    is_rebuilt: self.rebuilding.is_some(),
                };
                Ok(Next::Run(prepared.start(won, &mut self.tally)))
            }
            Ok(NextAction::Replay(replay)) => Ok(Next::Replay(Some(replay))),
            Err(waiting) => Ok(Next::Wait(Some(waiting))),
        }
    }

    /// Waits for the store, and perhaps for another run.
    async fn wait(&mut self, waiting: Waiting) -> Result<Response, Problem> {
        let (idempotency, options) = (self.idempotency.clone(), self.options);
        let patience = request::patience(&options, &self.request.parts.headers);
        let begun = idempotency.begin_waiting(waiting, &options, patience);
        let won = match begun.await? {
            NextAction::Run(won) => won,
            NextAction::Replay(replay) => {
                let finished = Finished::Replayed(replay);
                return self.respond_with(finished, false).await;
            }
        };
        let prepared = Prepared {
            request: &mut self.request,
            call: &mut self.call,
            keep: options.keep,
            is_rebuilt: self.rebuilding.is_some(),
        };
        let mut begun = prepared.start(won, &mut self.tally);
        let finished = begun.ended(&mut self.tally).await?;
        self.respond_with(finished, true).await
    }

    /// The response that a run has made, or that is stored for its request.
    fn respond_with(&mut self, finished: Finished<Response>, has_run: bool) -> Responded<'_> {
        let config = self.idempotency.http();
        match finished {
            Finished::Executed(executed) => Either::Left(ready(Ok(marked(config, executed)))),
            Finished::Replayed(replay) => {
                self.tally.record(replay.record);
                let Some(rebuilding) = self.rebuilding.take() else {
                    let replayed = saved_response::replay(config, replay);
                    return Either::Left(ready(self.replayed(replayed, has_run)));
                };
                Either::Right(Box::pin(async move {
                    let (rebuild, request) = *rebuilding;
                    let config = self.idempotency.http();
                    let replayed = rebuild::replay(config, replay, rebuild, request).await;
                    self.replayed(replayed, has_run)
                }))
            }
        }
    }

    /// Notes what became of a replay.
    fn replayed(
        &mut self,
        replayed: Result<Response, Problem>,
        has_run: bool,
    ) -> Result<Response, Problem> {
        match replayed {
            Ok(response) => {
                let marker = &self.idempotency.http().replayed;
                let is_replay = response.headers().contains_key(marker);
                self.tally.note(if is_replay {
                    RequestOutcome::Replayed
                } else {
                    RequestOutcome::ReplayFailed
                });
                Ok(response)
            }
            Err(problem @ Problem::ResponseUnavailable) => {
                self.tally.note(RequestOutcome::ReplayFailed);
                Err(problem)
            }
            Err(Problem::StoreUnavailable(_)) if has_run => Err(Problem::ResponseUnavailable),
            Err(problem) => Err(problem),
        }
    }

    /// The response to a request without a key.
    async fn unprotected(&mut self, mut request: Request) -> Response {
        self.tally.note(RequestOutcome::Unprotected);
        request.extensions_mut().insert(Unprotected);
        let call = self.call.take().expect("a handler is called once");
        match call(request).await.0 {
            Ok(response) => settle(self.idempotency.http(), response),
            // Without a key a panic propagates as it would without protection.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl<F, C> Prepared<'_, F>
where
    F: FnOnce(Request) -> C + Send + 'static,
    C: Future<Output = Called> + Send + 'static,
{
    fn start(self, won: Box<ClaimedRun>, tally: &mut Tally) -> Begun<Response> {
        let kind = if self.is_rebuilt {
            OutcomeKind::ReplayValue
        } else {
            OutcomeKind::Response
        };
        let execution = Execution::of(&won, kind);
        self.request.parts.extensions.insert(execution.clone());
        // In a box, because the run has its place until it ends.
        let request = Box::new(self.request.take());
        let call = self.call.take().expect("a handler is called once");
        let (engine, keep) = (won.idempotency().clone(), self.keep);
        won.start(tally, move || {
            attempt(engine, keep, execution, call(*request))
        })
    }
}

/// The response of a run, as its client gets it.
fn marked(config: &HttpConfig, executed: Executed<Response>) -> Response {
    let Executed {
        mut response,
        expires_at,
    } = executed;
    // A handler may pass on the response of another service, whose fields say nothing of this key. Hardly any does, and three
    // look-ups would take longer than a glance at the few fields of a response.
    let own = [&config.replayed, &config.expires, &config.problem];
    if response.headers().keys().any(|name| own.contains(&name)) {
        response.headers_mut().remove(&config.replayed);
        response.headers_mut().remove(&config.expires);
        if response.extensions().get::<HttpRejection>().is_none() {
            response.headers_mut().remove(&config.problem);
        }
    }
    let is_unrepeated = response.extensions_mut().remove::<Unrepeated>().is_some();
    if let Some(expires_at) = expires_at.filter(|_| !is_unrepeated) {
        caller::warn_of_inner_cors(config, response.headers());
        saved_response::announce_expiry(config, &mut response, expires_at);
    }
    response
}
