//! Whether the service can listen on its address, or is already running there.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use axum::http::HeaderValue;
use idempotency::{log_text::Causes, store::Verification};

/// What uses the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Nothing, or no service that reported that it is ready.
    IsNotReady,
    /// A service that can write.
    IsReady,
}

/// How long a running service may take to respond: longer than the time limit of its own store.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

const CHECK: &str = "address";

/// Adds whether the address is free, or the state of the service there.
pub(super) async fn check(
    address: SocketAddr,
    token: Option<HeaderValue>,
    found: &mut Verification,
) -> Address {
    let asked = tokio::task::spawn_blocking(move || match TcpListener::bind(address) {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Ok(Some(ask(address, token.as_ref())))
        }
        Err(error) => Err(error),
    });
    match asked.await {
        Ok(Ok(None)) => found.ok(CHECK, format!("{address} is free")),
        Ok(Ok(Some(status))) => return add(address, &status, found),
        Ok(Err(error)) => found.problem(
            CHECK,
            format!("--listen {address}: {}", Causes(&error)),
            "give an address of this machine and a port above 1023",
        ),
        Err(error) => found.problem(CHECK, error.to_string(), "try again"),
    }
    Address::IsNotReady
}

/// Adds the state of the service at the address, which must be running.
pub(super) async fn check_running(
    address: SocketAddr,
    token: Option<HeaderValue>,
    found: &mut Verification,
) {
    let asked = tokio::task::spawn_blocking(move || ask(address, token.as_ref())).await;
    let asked = asked.map_err(io::Error::other).flatten();
    add(address, &asked, found);
}

/// Adds the response of the service at the address.
fn add(address: SocketAddr, status: &io::Result<u16>, found: &mut Verification) -> Address {
    match status {
        Ok(200) => {
            found.ok(CHECK, format!("the service runs on {address}, and is ready"));
            return Address::IsReady;
        }
        // A health check that takes this for ready would never notice that the service is not.
        Ok(401 | 403) => found.problem(
            CHECK,
            format!("the service runs on {address}, and needs a valid token to say whether it is ready"),
            "give a valid token by --token-file or CORE_API_TOKEN, or start the service without --protect-health",
        ),
        Ok(503) => found.problem(
            CHECK,
            format!("the service runs on {address}, and is not ready"),
            "look at its log, and at GET /readyz",
        ),
        Ok(status) => found.problem(
            CHECK,
            format!("another program uses {address}: it responded to GET /readyz with {status}"),
            "give another address with --listen, or stop the other program",
        ),
        Err(error) => found.problem(
            CHECK,
            format!("no service responds on {address}: {}", Causes(error)),
            "start the service, or give its address with --listen; stop any other program that uses it",
        ),
    }
    Address::IsNotReady
}

/// The status of `GET /readyz`. The token is sent only if the service requests one.
fn ask(mut address: SocketAddr, token: Option<&HeaderValue>) -> io::Result<u16> {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    match (send(address, b"")?, token) {
        (401, Some(token)) => {
            let field = [b"Authorization: ", token.as_bytes(), b"\r\n"].concat();
            send(address, &field)
        }
        (status, _) => Ok(status),
    }
}

/// The status of the response to one request with this header field.
fn send(address: SocketAddr, field: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, RESPONSE_TIMEOUT)?;
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    stream.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
    let head = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    stream.write_all(&[head.as_bytes(), field, b"\r\n"].concat())?;
    // As long as "HTTP/1.1 200", which every server sends at once.
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let status = str::from_utf8(&start[9..]).ok();
    let status = status.filter(|_| start.starts_with(b"HTTP/1."));
    let status = status.and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
