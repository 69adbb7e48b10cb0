//! The service from its start to its end.

use std::{
    error::Error, fmt, io, net::SocketAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration,
};

use axum::Router;
use idempotency::{HttpConfig, Idempotency, log_text::Causes};
use rustls::crypto::ring;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet, time::timeout};
use uuid::Uuid;

#[cfg(feature = "metrics")]
use crate::metrics;
#[cfg(feature = "otlp")]
use crate::traces;
use crate::{
    app::App,
    bookings, caller,
    config::{Config, DatabaseUrl, StoreUrl},
    connections::{self, ConnectionLimits},
    cors,
    database::{self, OpenError, Opened},
    keys::{self, UnderWay},
    probe::Probe,
    router::{Access, router},
    secret::SecretError,
    shutdown::Hangups,
    supervised::Supervised,
    tokens::{Tokens, Watch},
};

/// A service that has bound its address and opened its database, and responds once it is served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    idempotency: Idempotency,
    changes: UnderWay,
    stored_in: String,
    limits: ConnectionLimits,
    /// How long requests under way may take to end once the service is asked to stop.
    stop_timeout: Duration,
    /// The token file, if requests need a token.
    tokens: Option<(Watch, Hangups)>,
    /// The supervisor that shares the listening socket, if there is one.
    supervised: Option<Arc<Supervised>>,
}

/// Why the service did not start, or was stopped before every request had ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be bound.
    Listen(SocketAddr, io::Error),
    /// The bookings' database cannot be opened.
    Database(String, Box<dyn Error + Send + Sync>),
    /// The store of the keys cannot be opened.
    IdempotencyStore(String, Box<dyn Error + Send + Sync>),
    /// The store of the keys does not support a limit.
    Limit(usize, Box<dyn Error + Send + Sync>),
    /// The secret file that this option names cannot be used or created.
    Secret(&'static str, PathBuf, Box<dyn Error + Send + Sync>),
    /// The token file cannot be used.
    Tokens(PathBuf, Box<dyn Error + Send + Sync>),
    /// Health requests should need a token, and there are no tokens.
    ProtectHealth,
    /// The description of the service should need a token, and there are no tokens.
    ProtectDocs,
    /// The process cannot listen for signals.
    Io(io::Error),
    /// Requests were still running, or their responses not stored, when the time limit for the stop expired.
    CutOff(Duration),
}

impl Server {
    /// Binds the address and opens the database.
    ///
    /// # Errors
    ///
    /// If either fails; the error names the option.
    pub async fn start(config: &Config) -> Result<Self, ServerError> {
        Self::start_in(config, None).await
    }

    /// Takes the bound socket from the supervisor of this process.
    pub(crate) async fn start_supervised(
        config: &Config,
        supervised: Supervised,
    ) -> Result<Self, ServerError> {
        Self::start_in(config, Some(Arc::new(supervised))).await
    }

    async fn start_in(
        config: &Config,
        supervised: Option<Arc<Supervised>>,
    ) -> Result<Self, ServerError> {
        // The clients of Redis and Firestore use the process's default provider. This fails if the program has already installed one.
        drop(ring::default_provider().install_default());
        let listen = |error| ServerError::Listen(config.listen, error);
        let limits = &config.limits;
        let tokens = tokens(config)?;
        let listener = match &supervised {
            None => TcpListener::bind(config.listen).await,
            Some(supervised) => supervised.listener().and_then(TcpListener::from_std),
        };
        let listener = listener.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let Opened {
            bookings,
            store,
            transactional,
            secrets,
        } = database::open(config).await?;
        #[cfg(feature = "metrics")]
        metrics::start();
        let http = HttpConfig::new();
        #[cfg(feature = "otlp")]
        let http = if traces::are_on() {
            http.with_traceresponse(traces::current)
        } else {
            http
        };
        // Where callers are not known, no key has an owner who could ask.
        let http = match tokens {
            Some(_) => http.with_key_lookup(bookings::by_key::PATH),
            None => http,
        };
        let mut builder = keys::engine(store, &secrets).with_http(http.clone());
        if tokens.is_some() {
            builder = builder.with_scope(caller::scope);
        }
        if let Some(keys) = limits.max_new_keys_per_minute {
            builder = builder.with_max_new_keys_per_scope(keys, Duration::from_secs(60));
        }
        if let Some(keys) = limits.max_live_keys {
            builder = builder.with_max_live_keys_per_scope(size(keys));
        }
        let idempotency = builder.build();
        if config.fault_injection {
            tracing::warn!("clients can inject failures: --fault-injection is on");
        }
        let app = App {
            bookings,
            idempotency: idempotency.clone(),
            transactional,
            tokens: tokens.as_ref().map(|(tokens, _)| Arc::clone(tokens)),
            fault_injection: config.fault_injection,
            supervised: supervised.clone(),
            bookings_survive: config.database != DatabaseUrl::Memory,
            keys_survive: match config.idempotency_store {
                StoreUrl::Same => config.database != DatabaseUrl::Memory,
                StoreUrl::Memory => false,
                _ => true,
            },
            probe: Probe::default(),
            changes: UnderWay::default(),
        };
        let changes = app.changes.clone();
        let access = match &tokens {
            None => {
                tracing::warn!(
                    "the service is open: without --tokens everyone who can reach it may do everything"
                );
                Access::Open
            }
            Some((tokens, _)) => Access::Tokens {
                tokens: Arc::clone(tokens),
                protect_health: config.protect_health,
                protect_docs: config.protect_docs,
            },
        };
        let router = router(app, &access, size(limits.max_body_bytes));
        let router = cors::allow(router, &config.cors_origins, &http);
        Ok(Self {
            listener,
            address,
            router,
            idempotency,
            changes,
            tokens: match tokens {
                None => None,
                Some((tokens, hangups)) => Some((Watch::start(tokens)?, hangups)),
            },
            stored_in: match &config.idempotency_store {
                StoreUrl::Same => config.database.to_string(),
                keys => format!("{}, its keys in {keys}", config.database),
            },
            limits: ConnectionLimits {
                connections: size(limits.max_connections),
                header_bytes: limits.max_header_bytes,
                idle: limits.idle_timeout,
                body: limits.body_timeout,
            },
            stop_timeout: limits.stop_timeout,
            supervised,
        })
    }

    /// The address where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A line for the user who started it: where it listens, and what to try.
    #[must_use]
    pub fn invitation(&self) -> String {
        let mut url = self.address;
        if url.ip().is_unspecified() {
            url.set_ip(match url {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let date = chrono::Utc::now().date_naive() + chrono::Days::new(7);
        let token = match self.tokens {
            None => "",
            Some(_) => " -H \"Authorization: Bearer $TOKEN\"",
        };
        format!(
            "core-api listens on http://{} and stores in {}; open it in a browser, or try, twice: \
             curl -i http://{url}/bookings -H 'Idempotency-Key: {}' -H 'Content-Type: application/json'{token} \
             -d '{{\"service_id\":\"haircut\",\"customer_name\":\"Ann\",\"date\":\"{date}\",\"time\":\"10:00\"}}'",
            self.address,
            self.stored_in,
            Uuid::new_v4(),
        )
    }

    /// Serves requests until `stop`, and returns once every request under way has its response and that is stored.
    ///
    /// # Errors
    ///
    /// If that takes longer than `--stop-timeout`.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let mut background = JoinSet::new();
        if let Some((watch, mut hangups)) = self.tokens {
            let reading = watch.clone();
            background.spawn(async move { reading.report_overdue_reads().await });
            background.spawn(async move {
                loop {
                    hangups.next().await;
                    watch.look_now();
                }
            });
        }
        #[cfg(feature = "metrics")]
        background.spawn(metrics::keep_up());
        let (stopping, stopped) = oneshot::channel::<()>();
        let serving = connections::serve(self.listener, self.router, self.limits, async {
            drop(stopped.await);
        });
        let mut serving = pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = stop => {}
        }

        if let Some(supervised) = &self.supervised {
            supervised.stop_listening();
        }
        tracing::info!("stopping: no new connections and no new keys");
        drop(stopping);
        let within = self.stop_timeout;
        let shutdown = self.idempotency.shutdown_within(within);
        // A change of a key continues after its client has disconnected.
        let served = async {
            serving.await;
            self.changes.ended().await;
        };
        let (served, shutdown) = tokio::join!(timeout(within, served), shutdown);
        if let Err(unfinished) = shutdown {
            tracing::warn!("stopping: {unfinished}");
            if unfinished.runs > 0 {
                return Err(ServerError::CutOff(within));
            }
        }
        served.map_err(|_| ServerError::CutOff(within))?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// A limit, far below the greatest `usize`.
fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The tokens that the options name.
fn tokens(config: &Config) -> Result<Option<(Arc<Tokens>, Hangups)>, ServerError> {
    let Some(path) = &config.tokens else {
        return match (config.protect_health, config.protect_docs) {
            (true, _) => Err(ServerError::ProtectHealth),
            (false, true) => Err(ServerError::ProtectDocs),
            (false, false) => Ok(None),
        };
    };
    // From the first read of the file on, a signal requests another read.
    let hangups = Hangups::listen()?;
    match Tokens::open(path) {
        Ok(tokens) => Ok(Some((Arc::new(tokens), hangups))),
        Err(error) => Err(ServerError::Tokens(path.clone(), error)),
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(formatter, "--listen {address}: {}", Causes(error))
            }
            Self::Database(url, error) => {
                write!(formatter, "--database {url}: {}", Causes(error.as_ref()))
            }
            Self::IdempotencyStore(url, error) => {
                write!(
                    formatter,
                    "--idempotency-store {url}: {}",
                    Causes(error.as_ref())
                )
            }
            Self::Limit(bytes, error) => {
                let error = Causes(error.as_ref());
                write!(formatter, "--idempotency-store-limit {bytes}: {error}")
            }
            Self::Secret(option, path, error) => {
                let (path, error) = (path.display(), Causes(error.as_ref()));
                write!(formatter, "{option} {path}: {error}")
            }
            Self::Tokens(path, error) => {
                let (path, error) = (path.display(), Causes(error.as_ref()));
                write!(formatter, "--tokens {path}: {error}")
            }
            Self::ProtectHealth => formatter.write_str("--protect-health: it needs --tokens"),
            Self::ProtectDocs => formatter.write_str("--protect-docs: it needs --tokens"),
            Self::Io(error) => Causes(error).fmt(formatter),
            Self::CutOff(within) => write!(
                formatter,
                "requests were cut off: they were still running, or their responses not stored, {} seconds after the service was asked \
                 to stop",
                within.as_secs(),
            ),
        }
    }
}

impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::Io(error) => Some(error),
            Self::Database(_, error)
            | Self::IdempotencyStore(_, error)
            | Self::Limit(_, error)
            | Self::Secret(_, _, error)
            | Self::Tokens(_, error) => Some(error.as_ref()),
            Self::ProtectHealth | Self::ProtectDocs | Self::CutOff(_) => None,
        }
    }
}

impl From<OpenError> for ServerError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Database(url, error) => Self::Database(url, Box::new(error)),
            OpenError::IdempotencyStore(url, error) => Self::IdempotencyStore(url, Box::new(error)),
            OpenError::Limit(bytes, error) => Self::Limit(bytes, Box::new(error)),
            OpenError::Secret(SecretError {
                option,
                path,
                source,
            }) => Self::Secret(option, path, source),
        }
    }
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
