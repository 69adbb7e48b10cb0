//! The connection to Firestore, which is replaced once no responses arrive on it.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use gcloud_sdk::{
    GoogleAuthHeaders, GoogleAuthMiddleware, HeaderMap,
    google::firestore::v1::firestore_client::FirestoreClient,
    tonic::{
        Status,
        transport::{Channel, ClientTlsConfig, Endpoint},
    },
};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{FirestoreStoreError, client::Failure};

/// The client that makes calls.
pub(super) type Api = FirestoreClient<GoogleAuthMiddleware>;

/// Clones are handles on one connection, whichever is current.
///
/// A tonic channel reconnects when its connection ends. But a connection that the network has silently dropped does not
/// end for minutes, and every call on it is lost. So after a call without a response the connection is replaced, and
/// the next call uses a new one.
#[derive(Clone)]
pub(super) struct Connection(Arc<Shared>);

/// Where to connect, and the name of the service there.
pub(super) struct Address {
    pub(super) url: String,
    /// The name in the server's certificate; `None` for a server without TLS.
    pub(super) tls_name: Option<&'static str>,
    /// The database, by which Google routes the calls.
    pub(super) prefix: String,
    pub(super) headers: HeaderMap,
}

struct Shared {
    endpoint: Endpoint,
    /// Shared by all connections, so that a new one needs no new token.
    credentials: Arc<GoogleAuthHeaders>,
    address: Address,
    // A plain lock: nothing is awaited under it.
    current: Mutex<Current>,
}

struct Current {
    api: Api,
    /// Counts the connections, so that of many calls on one only the first that gives up replaces it.
    number: u64,
    made_at: Instant,
    has_responded: bool,
}

/// How long a new connection may take until its first response, including name lookup, handshakes and the call. If that
/// takes longer than one call waits, it continues in the background.
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an idle connection is left alone. Google closes connections that are pinged more often.
const ASK_WHEN_IDLE_FOR: Duration = Duration::from_secs(30);

/// How long the server may take to reply to a ping on an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl Connection {
    pub(super) fn has_tls(&self) -> bool {
        self.0.address.tls_name.is_some()
    }

    /// Prepares the connection; nothing has been sent to the server yet.
    pub(super) async fn open(
        address: Address,
        credentials: GoogleAuthHeaders,
    ) -> Result<Self, FirestoreStoreError> {
        let endpoint = endpoint(&address)?;
        let credentials = Arc::new(credentials);
        let channel = endpoint.connect().await;
        let channel = channel.map_err(FirestoreStoreError::unreachable)?;
        let api = address.api(channel, &credentials);
        let current = Current {
            api: api.map_err(FirestoreStoreError::unreachable)?,
            number: 0,
            made_at: Instant::now(),
            has_responded: false,
        };
        Ok(Self(Arc::new(Shared {
            endpoint,
            credentials,
            address,
            current: Mutex::new(current),
        })))
    }

    /// Makes this call, which ends within the given time.
    pub(super) async fn call<T, C>(
        &self,
        most: Duration,
        call: impl FnOnce(Api) -> C,
    ) -> Result<T, Failure>
    where
        C: Future<Output = Result<T, Status>>,
    {
        let (api, number) = {
            let current = self.0.current.lock();
            (current.api.clone(), current.number)
        };
        match timeout(most, call(api)).await {
            Ok(response) => {
                // An error of the client itself has a cause, and one that the server sent has none.
                if response
                    .as_ref()
                    .err()
                    .is_none_or(|status| status.source().is_none())
                {
                    self.has_responded(number);
                }
                Ok(response?)
            }
            Err(_) => {
                if self.leave(number) {
                    tracing::debug!(
                        "no response from Firestore; the next call uses a new connection"
                    );
                }
                Err(Status::deadline_exceeded("no response in time").into())
            }
        }
    }

    fn has_responded(&self, number: u64) {
        let mut current = self.0.current.lock();
        if current.number == number {
            current.has_responded = true;
        }
    }

    /// Lets the next call connect anew, unless another call has already replaced the connection, or it is still being
    /// made.
    fn leave(&self, number: u64) -> bool {
        let shared = &self.0;
        let mut current = shared.current.lock();
        let is_new = !current.has_responded && current.made_at.elapsed() < FIRST_RESPONSE_TIMEOUT;
        if current.number != number || is_new {
            return false;
        }
        let channel = shared.endpoint.connect_lazy();
        // Names and headers are those of the first connection, so this does not fail.
        let Ok(api) = shared.address.api(channel, &shared.credentials) else {
            return false;
        };
        *current = Current {
            api,
            number: number + 1,
            made_at: Instant::now(),
            has_responded: false,
        };
        true
    }
}

impl Address {
    fn api(
        &self,
        channel: Channel,
        credentials: &Arc<GoogleAuthHeaders>,
    ) -> Result<Api, gcloud_sdk::error::Error> {
        let prefix = Some(self.prefix.clone());
        let mut service = GoogleAuthMiddleware::new(channel, Arc::clone(credentials), prefix)?;
        service.set_additional_headers(self.headers.clone());
        Ok(FirestoreClient::new(service))
    }
}

fn endpoint(address: &Address) -> Result<Endpoint, FirestoreStoreError> {
    let endpoint = Channel::from_shared(address.url.clone());
    let endpoint = endpoint
        .map_err(FirestoreStoreError::unreachable)?
        .connect_timeout(FIRST_RESPONSE_TIMEOUT)
        .tcp_keepalive(Some(ASK_WHEN_IDLE_FOR))
        .http2_keep_alive_interval(ASK_WHEN_IDLE_FOR)
        .keep_alive_timeout(IDLE_TIMEOUT)
        .keep_alive_while_idle(true);
    let Some(name) = address.tls_name else {
        return Ok(endpoint);
    };
    let tls = ClientTlsConfig::new()
        .with_enabled_roots()
        .domain_name(name);
    endpoint
        .tls_config(tls)
        .map_err(FirestoreStoreError::unreachable)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;

    #[test]
    fn a_server_with_a_certificate_is_an_endpoint_too() {
        drop(ring::default_provider().install_default());
        let address = Address {
            url: "https://firestore.googleapis.com".into(),
            tls_name: Some("firestore.googleapis.com"),
            prefix: "projects/p/databases/(default)".into(),
            headers: HeaderMap::new(),
        };
        assert!(endpoint(&address).is_ok());
    }
}
