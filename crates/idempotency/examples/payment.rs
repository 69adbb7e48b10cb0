//! A booking that charges a payment provider, killed in the middle, twice: `cargo run --example payment -p idempotency
//! --features sqlite`.
//!
//! The charge is a step of the run, so the next attempt gets its receipt in place of charging again. And where the process
//! dies before that receipt is kept, the provider recognises the child key. Either way one booking is charged once.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio, abort},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    CommitError, Execution, Idempotency, MemoryStore, SqliteDatabase, SqliteStore, StepError,
    idempotent,
};
use tokio::net::TcpListener;

/// Where the booking service dies, the first time that it serves.
const CRASHES: [&str; 2] = ["before the receipt is kept", "after the receipt is kept"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => tell_the_story().await,
        [file, provider, crash] => serve_bookings(file.as_ref(), provider, crash).await,
        _ => Err("start it without arguments".into()),
    }
}

// The payment provider: a service of its own, which honours keys.

/// How often it has taken money.
type Charges = Arc<AtomicUsize>;

#[idempotent(required)]
async fn charge(State(charges): State<Charges>, amount: String) -> String {
    let number = 1 + charges.fetch_add(1, Ordering::SeqCst);
    format!("receipt {number} for {amount}")
}

async fn serve_payments(charges: Charges) -> Result<String, Box<dyn Error>> {
    let router = Router::new()
        .route("/charges", post(charge))
        .with_state(charges)
        .layer(Extension(Idempotency::new(MemoryStore::new())));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/charges", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(url)
}

// The booking service: a process that dies where it is told to.

#[derive(Clone)]
struct Bookings {
    database: SqliteDatabase,
    client: reqwest::Client,
    provider: String,
    crash: String,
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 1)]
async fn book(
    State(bookings): State<Bookings>,
    execution: Execution,
    guest: String,
) -> Result<Response, BookingError> {
    let key = execution.child_key("charge");
    let receipt = execution.step("charge", bookings.charge(&key)).await?;
    bookings.die_if_told_so("after the receipt is kept");

    let answer = format!(
        "{guest} has a room, by {receipt}, in attempt {}",
        execution.attempt()
    );
    let insert = bookings.database.transaction(move |connection| {
        connection.execute("insert into bookings values (?1, ?2)", [guest, receipt])
    });
    Ok(execution
        .commit(insert, (StatusCode::CREATED, answer))
        .await?)
}

impl Bookings {
    async fn charge(&self, key: &str) -> Result<String, StatusCode> {
        // Whatever the provider's trouble is: the step is not kept, and the next attempt asks again.
        let failed = |_| StatusCode::BAD_GATEWAY;
        let request = self.client.post(&self.provider).body("100 euros");
        let response = request.header("Idempotency-Key", key).send().await;
        let response = response.and_then(reqwest::Response::error_for_status);
        let receipt = response.map_err(failed)?.text().await.map_err(failed)?;
        self.die_if_told_so("before the receipt is kept");
        Ok(receipt)
    }

    fn die_if_told_so(&self, here: &str) {
        if self.crash == here {
            abort();
        }
    }
}

async fn serve_bookings(file: &Path, provider: &str, crash: &str) -> Result<(), Box<dyn Error>> {
    let database = SqliteDatabase::open(file)?;
    let create = "create table if not exists bookings (guest text primary key, receipt text)";
    database
        .write(|connection| connection.execute_batch(create))
        .await?;
    let bookings = Bookings {
        database: database.clone(),
        client: reqwest::Client::new(),
        provider: provider.to_owned(),
        crash: crash.to_owned(),
    };
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(bookings)
        .layer(Extension(Idempotency::new(SqliteStore::new(database)?)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/bookings", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

/// Why there is no booking.
enum BookingError {
    Charge(StepError<StatusCode>),
    Commit(CommitError),
}

impl IntoResponse for BookingError {
    fn into_response(self) -> Response {
        match self {
            Self::Charge(error) => error.into_response(),
            Self::Commit(error) => error.into_response(),
        }
    }
}

impl From<StepError<StatusCode>> for BookingError {
    fn from(error: StepError<StatusCode>) -> Self {
        Self::Charge(error)
    }
}

impl From<CommitError> for BookingError {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

// The story: a client that asks until it has its answer.

async fn tell_the_story() -> Result<(), Box<dyn Error>> {
    let charges = Charges::default();
    let provider = serve_payments(Arc::clone(&charges)).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bookings.db");
    for (number, crash) in CRASHES.into_iter().enumerate() {
        println!("The booking service is going to die {crash}.");
        let (mut service, url) = start_service(&file, &provider, crash)?;
        let guest = format!("Guest {}", number + 1);
        if ask(&url, &guest).await.is_ok() {
            return Err("the service did not die".into());
        }
        service.wait()?;
        println!(
            "  It died. The provider has taken money {} times.",
            number + 1
        );

        let (mut service, url) = start_service(&file, &provider, "never")?;
        loop {
            let answer = ask(&url, &guest).await?;
            let (status, text) = (answer.status(), answer.text().await?);
            if status == StatusCode::CREATED {
                println!("  201: {text}");
                break;
            }
            println!("  {}: the dead run still has the key", status.as_u16());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        service.kill()?;
        service.wait()?;
    }
    let charged = charges.load(Ordering::SeqCst);
    println!("Two bookings, {charged} charges.");
    match charged {
        2 => Ok(()),
        _ => Err("somebody has paid twice".into()),
    }
}

fn start_service(
    file: &Path,
    provider: &str,
    crash: &str,
) -> Result<(Child, String), Box<dyn Error>> {
    let mut service = Command::new(env::current_exe()?)
        .args([file.as_os_str(), provider.as_ref(), crash.as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut url = String::new();
    let output = service.stdout.take().ok_or("it has an output")?;
    BufReader::new(output).read_line(&mut url)?;
    Ok((service, url.trim().to_owned()))
}

/// The same key for the same booking, however often it is asked for.
async fn ask(url: &str, guest: &str) -> Result<reqwest::Response, reqwest::Error> {
    let key = guest.replace(' ', "-");
    let request = reqwest::Client::new().post(url).body(guest.to_owned());
    request.header("Idempotency-Key", key).send().await
}
