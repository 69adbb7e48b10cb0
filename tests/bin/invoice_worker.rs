//! A worker that makes the invoice of one message, in the file that also has its keys, and dies where it is told to.
//!
//! `invoice-worker FILE leased|transactional POINT`: prints the message's outcome and the number of invoices at the end.

use std::{env, error::Error, process, time::Duration};

use idempotency::{
    CommitError, Execution, Fingerprint, Idempotency, IdempotencyKey, OnDuplicate, Options, Run,
    Scope, SqliteDatabase, SqliteStore, options::RunMode,
};

/// The worker waits until the dead worker's lease has expired.
const LEASED: Options = Options::new()
    .lease(Duration::from_secs(1))
    .on_duplicate(OnDuplicate::Wait);
const TRANSACTIONAL: Options = LEASED.mode(RunMode::Transactional);

/// Ends the process at once, as `kill -9` would, if this is the point where it has to die.
fn die(point: &str, here: &str) {
    if point == here {
        process::abort();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [file, mode, point] = &arguments[..] else {
        return Err("FILE leased|transactional POINT".into());
    };
    let options = match mode.as_str() {
        "leased" => LEASED,
        "transactional" => TRANSACTIONAL,
        other => return Err(format!("no mode: {other}").into()),
    };
    let database = SqliteDatabase::open(file)?;
    database
        .write(|connection| {
            connection.execute_batch(
                "create table if not exists invoices (id integer primary key, customer_order integer not null)",
            )
        })
        .await?;
    let idempotency = Idempotency::new(SqliteStore::new(database.clone())?);

    let run = handle(&idempotency, &options, &database, point).await?;
    let count = database.read(|connection| {
        connection.query_row("select count(*) from invoices", (), |row| {
            row.get::<_, u32>(0)
        })
    });
    println!("{run:?}, invoices: {}", count.await?);
    idempotency.shutdown().await;
    Ok(())
}

async fn handle(
    idempotency: &Idempotency,
    options: &Options,
    database: &SqliteDatabase,
    point: &str,
) -> Result<Run<i64>, Box<dyn Error>> {
    let (scope, key) = (
        Scope::principal("queue/orders"),
        IdempotencyKey::new("message-1")?,
    );
    let fingerprint = Fingerprint::of([b"invoice for order 7".as_slice()]);
    let (database, point) = (database.clone(), point.to_owned());
    let work = async move |execution: Execution| {
        die(&point, "before the commit");
        let within = point.clone();
        let insert = database.transaction(move |connection| {
            let id = connection
                .prepare("insert into invoices (customer_order) values (7)")?
                .insert(())?;
            die(&within, "within the commit");
            Ok(id)
        });
        let id = execution.commit_value_then(insert, |id| id).await?;
        die(&point, "after the commit");
        Ok::<_, CommitError>(id)
    };
    Ok(idempotency
        .run_with(options, &scope, &key, fingerprint, work)
        .await?)
}
