//! One process of a trial: a runtime of its own, and the service in it.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};

use super::{
    points::Points,
    trial::{Response, Service, Trial},
    trial_store::TrialStore,
};

/// How long a process that lives has for a final response, before it is taken for one that only a new process and the lease's end can help.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Process {
    runtime: Runtime,
    service: Service,
    pub(super) points: Arc<Points>,
}

/// What a request that may be interrupted came to.
pub(super) enum Sent {
    Answered(Answer),
    /// It was dropped at this place.
    Interrupted(String),
}

#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Whether a client would send the request again.
    pub(super) is_transient: bool,
}

impl Process {
    pub(super) fn start(trial: &Trial, points: Points) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let points = Arc::new(points);
        let store = TrialStore::new(Arc::clone(&trial.store), Arc::clone(&points));
        let service = runtime.block_on(async { (trial.process)(store) });
        Self {
            runtime,
            service,
            points,
        }
    }

    /// Sends the request, and drops it at the await of this number. The process continues only when it is asked for something.
    pub(super) fn send_until(&self, request: Request<Body>, awaits: Option<usize>) -> Sent {
        self.runtime.block_on(async {
            let mut seen = 0;
            let mut answer = pin!(answer((self.service)(request)));
            poll_fn(|context| match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Sent::Answered(answer)),
                Poll::Pending => {
                    let place = self.points.place();
                    if awaits == Some(seen) {
                        return Poll::Ready(Sent::Interrupted(place));
                    }
                    seen += 1;
                    Poll::Pending
                }
            })
            .await
        })
    }

    /// Sends the request until its response is final, or patience ends. Returns whether it is final.
    pub(super) fn send_until_final(&self, trial: &Trial, responses: &mut Vec<StatusCode>) -> bool {
        self.runtime.block_on(async {
            let begun = Instant::now();
            loop {
                let answer = answer((self.service)((trial.request)())).await;
                // Asked in short intervals, a running duplicate is one response and not a hundred.
                if responses.last() != Some(&answer.status) {
                    responses.push(answer.status);
                }
                if !answer.is_transient {
                    return true;
                }
                if begun.elapsed() > RESPONSE_TIMEOUT {
                    return false;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
    }
}

/// The status, once the whole body is there.
async fn answer(response: impl Future<Output = Response>) -> Answer {
    let (head, body) = response.await.into_parts();
    let is_complete = body.collect().await.is_ok();
    let is_transient =
        !is_complete || head.status.is_server_error() || head.headers.contains_key(RETRY_AFTER);
    Answer {
        status: head.status,
        is_transient,
    }
}
