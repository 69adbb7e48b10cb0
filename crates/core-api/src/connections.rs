//! Limits the number of connections, and how long a client may hold a connection or a response that it does not use.

mod activity;
mod body;
mod stream;

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, interval, sleep},
};
use tower::Service;

use activity::Activity;
use body::{InTime, Paced};
use stream::Stream;

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// The greatest number of connections.
    pub(crate) connections: usize,
    /// The longest head of a request. As many bytes are buffered for an HTTP/1 connection.
    pub(crate) header_bytes: u32,
    /// How long a connection may be idle, and the head of a request may take.
    pub(crate) idle: Duration,
    /// How long the body of a request may take.
    pub(crate) body: Duration,
}

/// How long a connection may be idle while other clients wait for a place.
const MAX_IDLE_WHEN_FULL: Duration = Duration::from_secs(5);

/// How long a closing connection has for its last bytes. A dead client is noticed within twice this time.
const GRACE: Duration = Duration::from_secs(10);

/// How many requests an HTTP/2 connection may have under way: the least that RFC 9113 section 6.5.2 recommends.
const MAX_STREAMS: u32 = 100;

/// How many bytes of an HTTP/2 response are buffered while its client does not read them.
const MAX_STREAM_BUFFER: usize = 32 * 1024;

/// How often the connections are checked.
const TICK: Duration = Duration::from_secs(1);

/// The shortest time between two warnings that there is no place for another connection.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Serves until `stop`, and returns once every connection has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(());
    let places = Arc::new(Semaphore::new(limits.connections));
    let accepting = async {
        let mut warned: Option<Instant> = None;
        loop {
            if places.available_permits() == 0
                && warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY)
            {
                tracing::warn!(
                    connections = limits.connections,
                    "every connection is in use; the next client has to wait until one is closed",
                );
                warned = Some(Instant::now());
            }
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let stream = accept(&listener).await;
            let connection = Connection {
                places: Arc::clone(&places),
                _place: place,
                stopped: stopped.clone(),
                limits,
            };
            tokio::spawn(connection.serve(stream, router.clone()));
        }
    };
    tokio::select! {
        // The stop comes first: the socket may already be shut down, which an accept would report as an error.
        biased;
        () = stop => {}
        () = accepting => {}
    }
    drop(listener);
    drop(stopped);
    // It fails if no connection listens.
    let _ = stopping.send(());
    stopping.closed().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted; trying again in a second");
                sleep(TICK).await;
            }
        }
    }
}

/// Whether the error concerns only the connection to be accepted.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

struct Connection {
    places: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
    stopped: watch::Receiver<()>,
    limits: ConnectionLimits,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream, router: Router) {
        let (stream, is_blocked) = Stream::new(stream);
        let activity = Arc::new(Activity::new());
        let exchanges = Arc::clone(&activity);
        let body_timeout = self.limits.body;
        let service = service_fn(move |request: Request<Incoming>| {
            let exchange = exchanges.begin(request.version());
            let request = InTime::of(request, &exchange, body_timeout);
            let response = router.clone().call(request.map(Body::new));
            async move {
                let response = match response.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok::<_, Infallible>(response.map(|body| Paced::new(body, exchange)))
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            // A client that has closed its sending side waits for its response. A client that has disconnected looks the same.
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_buf_size(usize::try_from(self.limits.header_bytes).unwrap_or(usize::MAX));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(GRACE)
            .keep_alive_timeout(GRACE)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(self.limits.header_bytes)
            .max_send_buf_size(MAX_STREAM_BUFFER);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut ticks = interval(TICK);
        let (mut is_stopping, mut is_closing) = (false, false);
        loop {
            tokio::select! {
                // In most cases the client has disconnected.
                _ = connection.as_mut() => return,
                _ = self.stopped.changed(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                    // Requests that were in transit when the stop began have until the next tick to arrive.
                    ticks.reset();
                }
                _ = ticks.tick() => {
                    let is_blocked = is_blocked.load(Ordering::Relaxed);
                    // A request that has not arrived yet is not waited for: it has had no effect.
                    if is_stopping && !is_blocked && activity.is_dispensable() {
                        return;
                    }
                    let Some(idle) = activity.idle(is_stopping) else {
                        continue;
                    };
                    let most = if is_stopping {
                        Duration::ZERO
                    } else if self.places.available_permits() == 0 {
                        MAX_IDLE_WHEN_FULL
                    } else {
                        self.limits.idle
                    };
                    if idle > most + GRACE {
                        return;
                    }
                    if idle > most && !is_closing {
                        is_closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}
