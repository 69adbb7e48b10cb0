//! Clients that leave before there is a response.

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::rng::Rng;

/// Sends a request, or the beginning of it, and closes the connection at a random moment. Returns false if the service was
/// down, or was faster.
pub(crate) async fn leave(address: &str, request: &[u8], rng: &mut Rng) -> bool {
    let Ok(mut service) = TcpStream::connect(address).await else {
        return false;
    };
    let sent = match rng.one_in(3) {
        // During the upload.
        true => 1 + rng.below(request.len() - 1),
        false => request.len(),
    };
    if service.write_all(&request[..sent]).await.is_err() {
        return false;
    }
    // While the key is claimed, while the handler works, and while the database does not respond.
    let stays = match rng.below(4) {
        0 => rng.milliseconds(0..3),
        1 => rng.milliseconds(0..30),
        2 => rng.milliseconds(0..300),
        _ => rng.milliseconds(0..1_500),
    };
    if sent < request.len() {
        sleep(stays).await;
    } else if timeout(stays, service.readable()).await.is_ok() {
        return false;
    }
    // Some close cleanly, and some connections break.
    if rng.one_in(2) {
        service.set_zero_linger().is_ok()
    } else {
        true
    }
}
