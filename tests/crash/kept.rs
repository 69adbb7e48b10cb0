//! The guarantee, which holds.

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

/// Services are suspended past their leases, and replies are later than those, and both continue as if nothing had
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

/// Clients leave while their keys are claimed, and claims arrive late. A hold without a run is released long before its
/// lease expires, and never during a run.
// proves: deaf-store-left-quickly, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_without_a_run_are_released_over_sqlite() {
    is_kept(Kind::Sqlite, Mode::LongLease).await;
}

// proves: deaf-store-left-quickly, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_without_a_run_are_released_over_postgres() {
    is_kept(Kind::Postgres, Mode::LongLease).await;
}

// proves: deaf-store-left-quickly, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_without_a_run_are_released_over_firestore() {
    is_kept(Kind::Firestore, Mode::LongLease).await;
}

async fn is_kept(kind: Kind, mode: Mode) {
    if let Some(report) = run(Plan::new(kind, mode)).await {
        report.assert_kept();
    }
}
