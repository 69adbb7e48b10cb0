//! A consumer of queue messages that makes one invoice for each message, though the queue delivers some of them twice and the
//! process may be killed at any moment: invoices and keys are in one file, and each invoice is committed with its message's key.
//!
//! `cargo run --example queue -p idempotency --features sqlite`

use std::{error::Error, time::Duration};

use idempotency::{
    CommitError, Execution, Fingerprint, Idempotency, IdempotencyKey, OnDuplicate, Options, Run,
    RunError, Scope, SqliteDatabase, SqliteStore, options::RunMode,
};
use tokio::sync::mpsc;

#[derive(Clone, Debug)]
struct Message {
    id: &'static str,
    order: u32,
}

/// A consumer has no client that could come back, so it waits for a run that goes on beside it.
const OPTIONS: Options = Options::new()
    .ttl(Duration::from_secs(3600))
    .on_duplicate(OnDuplicate::Wait)
    .mode(RunMode::Transactional);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let database = SqliteDatabase::open(folder.path().join("invoices.db"))?;
    let create = "create table invoices (id integer primary key, customer_order integer not null)";
    database
        .write(move |connection| connection.execute(create, ()))
        .await?;
    let idempotency = Idempotency::new(SqliteStore::new(database.clone())?);

    let (queue, mut messages) = mpsc::channel(8);
    tokio::spawn(deliver(queue));
    while let Some(message) = messages.recv().await {
        match handle(&idempotency, &database, &message).await {
            Ok(Run::Executed(invoice)) => println!("{}: {invoice}", message.id),
            Ok(earlier) => println!("{}: was {}", message.id, earlier.into_value()),
            // A real consumer gives such a message back to its queue, and the retry finds out.
            Err(RunError::Rejected(rejection)) => println!("{}: not now: {rejection}", message.id),
            Err(error) => println!("{}: failed: {error}", message.id),
        }
    }
    idempotency.shutdown().await;
    Ok(())
}

/// The part to copy: the insert, the key and the value that every further delivery gets are one commit.
async fn handle(
    idempotency: &Idempotency,
    database: &SqliteDatabase,
    message: &Message,
) -> Result<Run<String>, RunError<CommitError>> {
    let key = IdempotencyKey::new(message.id).expect("the queue's ids are keys");
    let scope = Scope::principal("queue/orders");
    let order = message.order;
    let fingerprint = Fingerprint::of([b"invoice".as_slice(), &order.to_be_bytes()]);
    let database = database.clone();
    let work = async move |execution: Execution| {
        let insert = database.transaction(move |connection| {
            connection
                .prepare_cached("insert into invoices (customer_order) values (?1)")?
                .insert([order])
        });
        let value = move |id| format!("invoice {id} for order {order}");
        execution.commit_value_then(insert, value).await
    };
    idempotency
        .run_with(&OPTIONS, &scope, &key, fingerprint, work)
        .await
}

/// At least once, as queues do.
async fn deliver(queue: mpsc::Sender<Message>) {
    let message = |id, order| Message { id, order };
    for message in [
        message("message-1", 7),
        message("message-2", 8),
        message("message-1", 7),
        // An id that is used again for another order is refused, not taken for the first one.
        message("message-2", 9),
    ] {
        if queue.send(message).await.is_err() {
            return;
        }
    }
}
