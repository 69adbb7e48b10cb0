//! Clients, which send each request until they have a response that is stored.

use std::{error::Error, time::Duration};

use http_body_util::BodyExt;
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::{
    faults::SERVICES,
    machines::{HTTP, PATHS},
    rng::Rng,
    world::World,
};

/// How many requests a client makes, one after the other.
pub(crate) const ORDERS: usize = 3;

/// Makes the requests of this principal, all of which another client may make too.
pub(crate) async fn run(principal: &str, world: World, mut rng: Rng) -> turmoil::Result {
    for order in 0..ORDERS {
        sleep(rng.milliseconds(0..4000)).await;
        let operation = operation(principal, order);
        // Some ask again although they have had a response.
        for _ in 0..1 + rng.below(2) {
            until_answered(principal, order, &operation, &world, &mut rng).await;
        }
    }
    Ok(())
}

pub(crate) fn operation(principal: &str, order: usize) -> String {
    format!("order {order} of {principal}")
}

async fn until_answered(
    principal: &str,
    order: usize,
    operation: &str,
    world: &World,
    rng: &mut Rng,
) {
    loop {
        let service = SERVICES[rng.below(SERVICES.len())];
        let patience = rng.milliseconds(500..9000);
        let sent = send(service, principal, order, operation);
        match timeout(patience, sent).await {
            Ok(Ok((StatusCode::CREATED, response, is_stored))) => {
                world.responds(operation, &response, is_stored);
                if is_stored {
                    return;
                }
            }
            Ok(Ok((status, response, _))) => {
                let is_for_later = status.is_server_error() || status == StatusCode::CONFLICT;
                if !is_for_later {
                    return world.breaks(format!("{operation} gets {status}: {response}"));
                }
                world.note(format!("{operation} gets {status} from {service}"));
            }
            Ok(Err(error)) => {
                world.note(format!("{operation} gets nothing from {service}: {error}"));
            }
            Err(_) => world.note(format!("{operation} leaves {service}")),
        }
        sleep(rng.milliseconds(100..1500)).await;
    }
}

async fn send(
    service: &str,
    principal: &str,
    order: usize,
    operation: &str,
) -> Result<(StatusCode, String, bool), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect((service, HTTP)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(PATHS[order % PATHS.len()])
        .header("host", service)
        .header("authorization", principal)
        .header("x-operation", operation)
        // Principals have keys of their own, so theirs may have equal names.
        .header("idempotency-key", format!("\"order-{order}\""))
        .body(operation.to_owned())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    // A retry would get it again.
    let fields = ["idempotency-expires", "idempotent-replayed"];
    let is_stored = fields
        .iter()
        .any(|name| response.headers().contains_key(*name));
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, String::from_utf8(body.to_vec())?, is_stored))
}

/// How long the last request may take once nothing goes wrong any more.
pub(crate) const REST: Duration = Duration::from_secs(120);
