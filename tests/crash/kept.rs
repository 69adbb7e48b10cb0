//! The guarantee, as it is kept.

use crate::{
    crash_world::{Kind, Mode},
    run::{Plan, run},
};

// proves: rows-and-key-commit-together, stored-before-sent, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_api_over_sqlite_books_each_key_once() {
    is_kept(Kind::Sqlite, Mode::Transactional).await;
}

// proves: rows-and-key-commit-together, stored-before-sent, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_core_apis_over_postgres_book_each_key_once() {
    is_kept(Kind::Postgres, Mode::Transactional).await;
}

// proves: rows-and-key-commit-together, stored-before-sent, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_sqlx_0_8_book_each_key_once() {
    is_kept(Kind::Postgres, Mode::Sqlx08).await;
}

// proves: rows-and-key-commit-together, stored-before-sent, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_tokio_postgres_book_each_key_once() {
    is_kept(Kind::Postgres, Mode::TokioPostgres).await;
}

// proves: rows-and-key-commit-together, stored-before-sent, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_core_apis_over_firestore_book_each_key_once() {
    is_kept(Kind::Firestore, Mode::Transactional).await;
}

// proves: dead-owner-taken-over, rows-and-key-commit-together, stored-before-sent
// proves: failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_a_booking_ends_over_sqlite_book_each_key_once() {
    is_kept(Kind::Sqlite, Mode::Lease).await;
}

/// Services are suspended past their leases too, and replies are later than those, and both go on as if nothing had
/// happened.
// proves: dead-owner-taken-over, lost-lease-stores-nothing, rows-and-key-commit-together
// proves: stored-before-sent, stale-owner-writes, run-outlives-lease, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_a_booking_ends_over_postgres_book_each_key_once() {
    is_kept(Kind::Postgres, Mode::Lease).await;
}

// proves: dead-owner-taken-over, lost-lease-stores-nothing, rows-and-key-commit-together
// proves: stored-before-sent, stale-owner-writes, run-outlives-lease, failure-after-effect-reruns
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_a_booking_ends_over_firestore_book_each_key_once() {
    is_kept(Kind::Firestore, Mode::Lease).await;
}

/// Clients leave while their keys are claimed, claims arrive late, and what nobody works under is given back long before
/// its lease is over, and never while somebody does.
// proves: deaf-store-left-quickly, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_works_under_are_given_back_over_sqlite() {
    is_kept(Kind::Sqlite, Mode::LongLease).await;
}

// proves: deaf-store-left-quickly, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_works_under_are_given_back_over_postgres() {
    is_kept(Kind::Postgres, Mode::LongLease).await;
}

// proves: deaf-store-left-quickly, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_works_under_are_given_back_over_firestore() {
    is_kept(Kind::Firestore, Mode::LongLease).await;
}

async fn is_kept(kind: Kind, mode: Mode) {
    if let Some(report) = run(Plan::new(kind, mode)).await {
        report.assert_kept();
    }
}
