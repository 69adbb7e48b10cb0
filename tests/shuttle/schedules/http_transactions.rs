//! Handlers that commit their response with their rows.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{CommitError, Execution, Idempotency, idempotent};
use tokio::{spawn, task::yield_now};

use crate::{
    client::leave_after,
    database::Fate,
    http::{Received, in_pieces, send, serving, stop},
    search::{search, search_leaving},
    shop::Shop,
    world::KEY,
};

/// What a handler works with.
#[derive(Clone)]
struct Work {
    shop: Shop,
    /// After how many polls it drops its commit.
    polls: usize,
}

#[idempotent(ttl_seconds = 3600, transactional, on_duplicate = "wait")]
async fn book(State(work): State<Work>, run: Execution) -> Result<Response, CommitError> {
    let begun = work.shop.ledger.begin(KEY);
    yield_now().await;
    let insert = work.shop.database.insert(begun.number);
    let response = |number: u32| {
        let body = in_pieces(["booking ".to_owned(), number.to_string()]);
        (StatusCode::CREATED, body)
    };
    match leave_after(work.polls, run.commit_then(insert, response)).await {
        Some(committed) => {
            if matches!(committed, Err(CommitError::Failed(_))) {
                work.shop.is_told_of(begun.number);
            }
            committed
        }
        None => {
            begun.has_effect();
            Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    }
}

/// The number of the run that has committed; nothing if the client is told that its own has not.
#[track_caller]
fn booked(received: &Received) -> Option<u32> {
    match received.status {
        StatusCode::CREATED => {
            let number = received.body.strip_prefix("booking ");
            Some(number.expect("a booking").parse().expect("a number"))
        }
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => None,
        _ => panic!("{received:?}"),
    }
}

/// One more request gets the response of the only row, which nobody was told is not there.
async fn end(shop: Shop, apps: [(Idempotency, Router); 2], mut seen: Vec<u32>) {
    let (engine, app) = process(&shop, usize::MAX);
    seen.extend(booked(&send(app.clone()).await));
    for (engine, app) in apps.into_iter().chain([(engine, app)]) {
        stop(engine, app).await;
    }
    shop.settle(seen).await;
}

/// A process of which each commit is dropped after so many polls.
fn process(shop: &Shop, polls: usize) -> (Idempotency, Router) {
    let engine = serving(Arc::clone(&shop.database.rows));
    let shop = shop.clone();
    let app = Router::new()
        .route("/bookings", post(book))
        .layer(engine.extension())
        .with_state(Work { shop, polls });
    (engine, app)
}

fn processes(shop: &Shop) -> [(Idempotency, Router); 2] {
    [(); 2].map(|()| process(shop, usize::MAX))
}

// proves: schedules-keep-promises
#[test]
fn all_requests_get_the_response_of_one_transaction() {
    search(async |speed| {
        let shop = Shop::new(speed);
        let apps = processes(&shop);
        let clients = [0, 1, 1].map(|process: usize| spawn(send(apps[process].1.clone())));
        let mut seen = Vec::new();
        for client in clients {
            seen.extend(booked(&client.await.expect("no abort")));
        }
        assert_eq!(seen.len(), 3, "a client has no booking");
        end(shop, apps, seen).await;
    });
}

// proves: schedules-keep-promises, unknown-commit-applied-twice
#[test]
fn a_response_whose_commit_is_late_counts_or_never_arrives() {
    search(async |speed| {
        let shop = Shop::new(speed);
        shop.database.decide(Fate::Late);
        let apps = processes(&shop);
        let clients = [0, 1].map(|process: usize| spawn(send(apps[process].1.clone())));
        let mut seen = Vec::new();
        for client in clients {
            seen.extend(booked(&client.await.expect("no abort")));
        }
        end(shop, apps, seen).await;
    });
}

// proves: schedules-keep-promises, run-survives-client-leaving
#[test]
fn a_client_that_disconnects_from_a_transaction_keeps_the_key_from_nobody() {
    search_leaving(async |speed, polls| {
        let shop = Shop::new(speed);
        let apps = processes(&shop);
        let leaver = spawn(leave_after(polls, send(apps[0].1.clone())));
        let stayer = spawn(send(apps[0].1.clone()));
        let received = leaver.await.expect("no abort");
        let left = received.is_none();
        let stays = stayer.await.expect("no abort");
        let seen = received.iter().chain([&stays]).map(booked);
        let seen: Option<Vec<_>> = seen.collect();
        assert_eq!(shop.ledger.page(KEY).begun, 1);
        end(shop, apps, seen.expect("a booking for each")).await;
        left
    });
}

/// The handler's own response says that nothing was done. It is sent only if that stays so.
// proves: schedules-keep-promises
#[test]
fn a_commit_that_its_handler_drops_midway_counts_or_never_arrives() {
    search_leaving(async |speed, polls| {
        let shop = Shop::new(speed);
        let apps = [process(&shop, polls), process(&shop, usize::MAX)];
        let seen = booked(&send(apps[0].1.clone()).await);
        if seen.is_none() {
            shop.is_told_of(1);
        }
        let left = shop.ledger.page(KEY).effects > 0;
        end(shop, apps, seen.into_iter().collect()).await;
        left
    });
}
