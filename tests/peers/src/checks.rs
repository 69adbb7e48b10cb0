//! What a library protects from.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    connection::{Connection, Response},
    request::{Booking, key},
    server::Server,
};

/// One for each of [`QUESTIONS`].
pub(crate) type Checks = Vec<Verdict>;

/// What happened, in a few words.
pub(crate) struct Verdict {
    /// Whether it is what the client needs.
    pub(crate) is_kept: bool,
    pub(crate) text: String,
}

pub(crate) const QUESTIONS: [&str; 6] = [
    "100 equal requests at once",
    "another body under the key",
    "another caller with the key",
    "the client disconnects, then retries",
    "the handler panics, then a retry",
    "the handler responds with 500, then a retry",
];

const EQUAL: usize = 100;
/// For how long a client retries.
const PATIENCE: Duration = Duration::from_secs(10);

/// # Errors
///
/// If the server cannot be asked.
pub(crate) async fn run(server: &Server) -> Result<Checks, String> {
    Ok(vec![
        equal_requests(server).await?,
        other_body(server).await?,
        other_caller(server).await?,
        disconnected(server).await?,
        ended(server, "panics").await?,
        ended(server, "fails").await?,
    ])
}

async fn equal_requests(server: &Server) -> Result<Verdict, String> {
    let booking = Booking {
        pause_ms: 50,
        ..new(server, 1)
    };
    let before = server.effects().await?;
    let mut connections = Vec::new();
    for _ in 0..EQUAL {
        let connection = Connection::open(server.port).await;
        connections.push(connection.map_err(|error| error.to_string())?);
    }
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let request = booking.bytes();
        clients.spawn(async move { status(connection.send(&request).await.as_ref()) });
    }
    let mut statuses = BTreeMap::new();
    for status in clients.join_all().await {
        *statuses.entry(status).or_insert(0) += 1;
    }
    let statuses = statuses
        .iter()
        .map(|(status, times)| format!("{times} × {status}"));
    let statuses = statuses.collect::<Vec<_>>().join(", ");
    let effects = server.effects().await? - before;
    Ok(Verdict {
        is_kept: effects == 1,
        text: format!("{}: {statuses}", counted(effects)),
    })
}

async fn other_body(server: &Server) -> Result<Verdict, String> {
    let first = new(server, 2);
    let first_response = send(server, &first).await;
    let before = server.effects().await?;
    let other = Booking {
        guest: "someone else".to_owned(),
        ..first
    };
    let response = send(server, &other).await;
    let effects = server.effects().await? - before;
    let is_refused = response
        .as_ref()
        .is_ok_and(|response| (400..500).contains(&response.status));
    let status = status(response.as_ref());
    let text = match effects {
        0 if is_refused => status,
        0 if id(first_response.as_ref()) == id(response.as_ref()) => {
            format!("{status}: the first response")
        }
        0 => status,
        _ => format!("{status}: it runs"),
    };
    Ok(Verdict {
        is_kept: effects == 0 && is_refused,
        text,
    })
}

async fn other_caller(server: &Server) -> Result<Verdict, String> {
    let ann = Booking {
        caller: Some(caller(server, 0)),
        ..new(server, 3)
    };
    let bob = Booking {
        caller: Some(caller(server, 1)),
        ..ann.clone()
    };
    let of_ann = send(server, &ann).await;
    let of_bob = send(server, &bob).await;
    let (known, found) = (id(of_ann.as_ref()), id(of_bob.as_ref()));
    let is_leaked = known.is_some() && known == found;
    let status = status(of_bob.as_ref());
    let text = if is_leaked {
        format!("{status}: the first caller's response")
    } else if found.is_some() {
        format!("{status}: it runs separately")
    } else {
        status
    };
    Ok(Verdict {
        is_kept: known.is_some() && !is_leaked,
        text,
    })
}

async fn disconnected(server: &Server) -> Result<Verdict, String> {
    let booking = Booking {
        pause_ms: 1_000,
        ..new(server, 4)
    };
    let before = server.effects().await?;
    let left = async {
        let mut connection = Connection::open(server.port).await?;
        connection.send_only(&booking.bytes()).await?;
        // Midway in the pause: rows that are not committed yet cannot be seen from here.
        sleep(Duration::from_millis(300)).await;
        Ok::<_, std::io::Error>(())
    };
    left.await.map_err(|error| error.to_string())?;
    let last = retry(server, &booking).await;
    // The first run may still be on its way.
    sleep(Duration::from_millis(1_500)).await;
    let effects = server.effects().await? - before;
    let is_created = id(last.as_ref()).is_some();
    Ok(Verdict {
        is_kept: effects == 1 && is_created,
        text: format!(
            "{}, then {}",
            counted(effects),
            after_retries(last.as_ref())
        ),
    })
}

async fn ended(server: &Server, first_run: &'static str) -> Result<Verdict, String> {
    let group = if first_run == "panics" { 5 } else { 6 };
    let booking = Booking {
        first_run: Some(first_run),
        ..new(server, group)
    };
    let before = server.effects().await?;
    let first = send(server, &booking).await;
    let last = retry(server, &booking).await;
    let effects = server.effects().await? - before;
    Ok(Verdict {
        // To run again and to repeat the first response are both rules that a client can live with.
        is_kept: last
            .as_ref()
            .is_ok_and(|last| last.status == 201 || last.status == 500),
        text: format!(
            "{}, then {}: {}",
            status(first.as_ref()),
            after_retries(last.as_ref()),
            counted(effects)
        ),
    })
}

/// Sends the request until it is not refused for a while.
async fn retry(server: &Server, booking: &Booking) -> Result<Response, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let response = send(server, booking).await;
        let is_final = response
            .as_ref()
            .is_ok_and(|response| (200..300).contains(&response.status) || response.status == 500);
        if is_final || Instant::now() > until {
            return response;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn send(server: &Server, booking: &Booking) -> Result<Response, String> {
    let sent = async {
        let mut connection = Connection::open(server.port).await?;
        connection.send(&booking.bytes()).await
    };
    // A workflow that does not run any more is waited for without end.
    let sent = timeout(PATIENCE, sent).await;
    let sent = sent.map_err(|_| "no response".to_owned())?;
    sent.map_err(|error| error.to_string())
}

/// A booking with a key of its own, sent by the first caller of a server with sessions and otherwise without credentials.
fn new(server: &Server, question: u64) -> Booking {
    Booking {
        key: Some(key(0xc4ec, question)),
        guest: format!("guest of question {question}"),
        caller: server
            .cookies
            .first()
            .map(|cookie| format!("Cookie: {cookie}")),
        ..Booking::default()
    }
}

fn caller(server: &Server, index: usize) -> String {
    match server.cookies.get(index) {
        Some(cookie) => format!("Cookie: {cookie}"),
        None => format!("Authorization: Bearer token-of-caller-{index}"),
    }
}

/// The number of the booking that a response is about.
fn id<E>(response: Result<&Response, E>) -> Option<u64> {
    let response = response.ok()?;
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    body.get("id")?.as_u64()
}

fn status<E>(response: Result<&Response, E>) -> String {
    response.map_or_else(
        |_| "no response".to_owned(),
        |response| response.status.to_string(),
    )
}

fn after_retries<E>(last: Result<&Response, E>) -> String {
    match last {
        Ok(last) if last.status == 201 || last.status == 500 => last.status.to_string(),
        Ok(last) => format!("{} for {} s", last.status, PATIENCE.as_secs()),
        Err(_) => format!("no response for {} s", PATIENCE.as_secs()),
    }
}

fn counted(effects: u64) -> String {
    match effects {
        1 => "1 effect".to_owned(),
        _ => format!("{effects} effects"),
    }
}
