//! The engine and the memory store as they are, under schedules that shuttle chooses: which task goes on at each lock, wait and spawn.
//!
//! Nothing moves time but the test. So a client that is not woken waits for ever, which shuttle reports as a deadlock.

mod client;
mod database;
mod deviations;
mod failures;
mod http;
mod http_transactions;
mod lapses;
mod leaving;
mod ledger;
mod local_locks;
mod lost;
mod one_key;
mod operators;
mod replay;
mod rotation;
#[path = "../../simulation/rows.rs"]
mod rows;
mod search;
mod shop;
mod shutdown;
mod steps;
mod store;
mod sweep;
mod transactions;
mod world;
