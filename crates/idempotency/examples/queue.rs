//! A consumer of queue messages that handles each message once, though the queue delivers some of them twice.
//!
//! `cargo run --example queue -p idempotency`

use std::{convert::Infallible, time::Duration};

use idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, MemoryStore, OnDuplicate, Options, Run, RunError,
    Scope,
};
use tokio::sync::mpsc;

#[derive(Clone, Debug)]
struct Message {
    id: &'static str,
    invoice: u32,
}

/// A consumer has nobody to tell to come back, so it waits for a run that goes on elsewhere.
const OPTIONS: Options = Options::new()
    .ttl_seconds(3600)
    .on_duplicate(OnDuplicate::Wait);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let idempotency = Idempotency::new(MemoryStore::new());
    let (queue, mut messages) = mpsc::channel(8);
    tokio::spawn(deliver(queue));

    let scope = Scope::principal("queue/invoices");
    while let Some(message) = messages.recv().await {
        let key = IdempotencyKey::new(message.id)?;
        let fingerprint =
            Fingerprint::of([b"send invoice".as_slice(), &message.invoice.to_be_bytes()]);
        let work = send_invoice(message.invoice);
        match idempotency
            .run_with(&OPTIONS, &scope, &key, fingerprint, work)
            .await
        {
            Ok(Run::Executed(receipt)) => println!("{}: sent, {receipt}", message.id),
            Ok(Run::Replayed(receipt)) => println!("{}: was sent before, {receipt}", message.id),
            Err(RunError::Rejected(refusal)) => println!("{}: not now: {refusal}", message.id),
            Err(RunError::Failed(never)) => match never {},
        }
    }
    idempotency.shutdown().await;
    Ok(())
}

/// At least once, as queues do.
async fn deliver(queue: mpsc::Sender<Message>) {
    let message = |id, invoice| Message { id, invoice };
    for message in [
        message("message-1", 7),
        message("message-2", 8),
        message("message-1", 7),
        // Somebody used an id again: that is refused, not taken for the first one.
        message("message-2", 9),
    ] {
        if queue.send(message).await.is_err() {
            return;
        }
    }
}

async fn send_invoice(invoice: u32) -> Result<String, Infallible> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(format!("receipt for invoice {invoice}"))
}
