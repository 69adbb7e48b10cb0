//! A client and its service, both killed in the middle of a booking and started again: booked once.
//!
//! `cargo build -p core-api && cargo run --example client -p idempotency --features client -- target/debug/core-api`
//!
//! `booking.rs` is the part to copy. The rest tells the story: this process is the one who kills, the service is `core-api` with
//! a SQLite file (`service.rs`), and the client is this program, started once more.

mod booking;
mod service;

use std::{env, error::Error, path::Path};

use idempotency::{client::IntentFolder, reqwest};
use serde_json::Value;
use service::Service;
use tokio::process::{Child, Command};

const USAGE: &str = "the path of the program core-api is needed: cargo build -p core-api, then target/debug/core-api";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [url, intents, order] => booking::book(url, intents, order).await,
        [program] => tell(program).await,
        _ => Err(USAGE.into()),
    }
}

async fn tell(program: &str) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // Once, when the client is installed.
    IntentFolder::create(folder.path().join("intents")).await?;
    let mut service = Service::start(program, folder.path()).await?;
    let mut client = start_client(&service, folder.path())?;

    service.is_booking().await?;
    service.kill().await?;
    println!("the service was killed while it booked");
    service.start_again().await?;
    println!("the service runs again");

    service.is_booking().await?;
    println!("the client has sent its request again");
    client.kill().await?;
    println!("the client was killed while it waited");

    let status = start_client(&service, folder.path())?.wait().await?;
    if !status.success() {
        return Err(format!("the client: {status}").into());
    }
    let bookings = reqwest::get(format!("{}/bookings", service.url)).await?;
    let bookings: Vec<Value> = bookings.json().await?;
    println!("bookings: {}", bookings.len());
    match &bookings[..] {
        [booking] if booking["customer_name"] == "order-17" => Ok(()),
        _ => Err(format!("{bookings:?}").into()),
    }
}

fn start_client(service: &Service, folder: &Path) -> std::io::Result<Child> {
    Command::new(env::current_exe()?)
        .arg(&service.url)
        .arg(folder.join("intents"))
        .arg("order-17")
        .kill_on_drop(true)
        .spawn()
}
