//! Two processes of a shop behind one Redis. The first dies after it has charged the customer and before it knows. The second
//! takes the key over when its lease is over, and the payment provider sees by the child key that it is the same charge.
//!
//! `REDIS_URL=redis://127.0.0.1 cargo run --example redis -p idempotency --features redis`
//!
//! This process is the client and the provider. The shop is this program, started with the provider's address.

use std::{collections::HashSet, env, error::Error, future, process::Stdio};
use std::{sync::Arc, sync::Mutex, time::Duration, time::UNIX_EPOCH};

use axum::{Extension, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use idempotency::{Execution, Idempotency, RedisStore, idempotent};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::{net::TcpListener, sync::Notify, time::sleep};

/// The part to copy. The lease is short, so that a key whose process has died is soon free; it is renewed while a run goes on.
#[idempotent(required, ttl_seconds = 3600, lease_seconds = 2)]
async fn order(
    State(provider): State<Arc<str>>,
    execution: Execution,
) -> Result<(StatusCode, String), StatusCode> {
    let request = reqwest::Client::new()
        .post(&*provider)
        // The same on every attempt at this request, and another one for each other request.
        .header("Idempotency-Key", execution.child_key("charge"));
    let response = request.send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let charge = response.text().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let attempt = execution.attempt();
    Ok((
        StatusCode::CREATED,
        format!("{charge}, on attempt {attempt}"),
    ))
}

/// The payment provider: one charge for each key. Its first response never comes.
#[derive(Default)]
struct Provider {
    charges: Mutex<HashSet<String>>,
    has_charged: Notify,
}

async fn charge(State(provider): State<Arc<Provider>>, headers: HeaderMap) -> String {
    let key = headers["Idempotency-Key"].to_str().unwrap_or_default();
    let is_first = {
        let mut charges = provider.charges.lock().expect("a lock");
        charges.insert(key.to_owned()) && charges.len() == 1
    };
    if is_first {
        provider.has_charged.notify_one();
        future::pending::<()>().await;
    }
    format!("charged under {key}")
}

async fn shop(redis: &str, provider: &str) -> Result<(), Box<dyn Error>> {
    let idempotency = Idempotency::new(RedisStore::connect(redis).await?);
    let app = Router::new()
        .route("/orders", post(order))
        .layer(Extension(idempotency))
        .with_state(Arc::from(provider));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/orders", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn start_shop(provider: &str) -> Result<(Child, String), Box<dyn Error>> {
    let mut shop = Command::new(env::current_exe()?);
    let shop = shop.arg(provider).stdout(Stdio::piped()).kill_on_drop(true);
    let mut shop = shop.spawn()?;
    let lines = shop.stdout.take().ok_or("the shop has no output")?;
    let address = BufReader::new(lines).lines().next_line().await?;
    Ok((shop, address.ok_or("the shop has not started")?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let redis = env::var("REDIS_URL").map_err(|_| "set REDIS_URL to a Redis server")?;
    if let Some(provider) = env::args().nth(1) {
        return shop(&redis, &provider).await;
    }
    let provider = Arc::new(Provider::default());
    let routes = Router::new()
        .route("/charges", post(charge))
        .with_state(Arc::clone(&provider));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/charges", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, routes).into_future());

    let (mut first, orders) = start_shop(&address).await?;
    let (_second, other_orders) = start_shop(&address).await?;
    // A real client makes a random one.
    let key = format!("\"order-{}\"", UNIX_EPOCH.elapsed()?.as_nanos());
    let client = reqwest::Client::new();
    let send = |orders: &str| client.post(orders).header("Idempotency-Key", &key).send();

    tokio::select! {
        response = send(&orders) => return Err(format!("no charge: {response:?}").into()),
        () = provider.has_charged.notified() => first.kill().await?,
    }
    println!("The first process has charged, and is dead.");
    let mut response = send(&other_orders).await?;
    while response.status() == StatusCode::CONFLICT {
        println!(
            "The key is taken until the lease is over: {}",
            response.status()
        );
        sleep(Duration::from_secs(1)).await;
        response = send(&other_orders).await?;
    }
    let (status, text) = (response.status(), response.text().await?);
    println!("The second process: {status}, {text}");
    assert!(status == StatusCode::CREATED && text.ends_with("on attempt 2"));
    assert_eq!(provider.charges.lock().expect("a lock").len(), 1);
    Ok(())
}
