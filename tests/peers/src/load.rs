//! A number of requests, as fast as the server responds to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    connection::Connection,
    request::{Booking, key},
    server::Server,
};

/// Which requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// No key.
    Unprotected,
    /// Keys of this group, each new.
    First { group: u64 },
    /// Keys that [`KNOWN`] requests have used.
    Replay,
}

/// What it took to serve them.
pub(crate) struct Slice {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// As many connections send a request each, one after the other.
const CONNECTIONS: usize = 32;
/// How many keys are replayed, by turns.
pub(crate) const KNOWN: u64 = 500;
/// The group of these keys.
const KNOWN_GROUP: u64 = u32::MAX as u64;

/// # Errors
///
/// If a response is another than 201.
pub(crate) async fn load(server: &Server, kind: Kind, count: u64) -> Result<Slice, String> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(server.port).await;
        connections.push(connection.map_err(|error| error.to_string())?);
    }
    let (next, cookies) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(server.cookies.clone()),
    );
    let (cpu, begun) = (server.cpu_time(), Instant::now());
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let (next, cookies) = (next.clone(), cookies.clone());
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let request = booking(kind, number, &cookies).bytes();
                let response = connection.send(&request).await;
                let response = response.map_err(|error| error.to_string())?;
                if response.status != 201 {
                    let body = String::from_utf8_lossy(&response.body).into_owned();
                    return Err(format!("request {number} got {}: {body}", response.status));
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("a client does not panic")?;
    }
    Ok(Slice {
        cpu: server.cpu_time() - cpu,
        wall: begun.elapsed(),
    })
}

/// Makes the keys known that are replayed.
///
/// # Errors
///
/// As [`load`].
pub(crate) async fn prepare(server: &Server) -> Result<(), String> {
    let group = KNOWN_GROUP;
    load(server, Kind::First { group }, KNOWN).await.map(drop)
}

fn booking(kind: Kind, number: u64, cookies: &[String]) -> Booking {
    let (key, number) = match kind {
        Kind::Unprotected => (None, number),
        Kind::First { group } => (Some(key(group, number)), number),
        Kind::Replay => (Some(key(KNOWN_GROUP, number % KNOWN)), number % KNOWN),
    };
    let cookie = (number as usize).checked_rem(cookies.len());
    Booking {
        key,
        guest: format!("guest {number:08}"),
        caller: cookie.map(|index| format!("Cookie: {}", cookies[index])),
        ..Booking::default()
    }
}
