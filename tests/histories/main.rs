//! Random histories of every store: what is asked of it, by several owners, with several keys, and what it replies.
//!
//! Calls one after another have the replies of the reference, which is the library's own transitions. Concurrent ones, with replies
//! that are lost and servers that are killed, have for each key the replies of some order of the calls.
//!
//! Each history comes from a number. A failing test prints it, and `HISTORIES_SEED` repeats it; `HISTORIES=20` makes twenty times as
//! many.

mod backend;
mod call;
mod reference;
mod seeds;
mod sequential;
mod strategy;

use backend::Backend;

fn in_sequence(many: u64, open: impl AsyncFn() -> Option<Backend>) {
    if let Some(Err(found)) = sequential::check(many, open) {
        panic!("{found}");
    }
}

// proves: histories-follow-reference
#[test]
fn the_memory_store_replies_as_the_reference() {
    in_sequence(1000, async || Some(Backend::memory()));
}

// proves: histories-follow-reference
#[test]
fn sqlite_replies_as_the_reference() {
    in_sequence(60, async || Some(Backend::sqlite()));
}

// proves: histories-follow-reference
#[test]
fn postgres_replies_as_the_reference() {
    in_sequence(60, Backend::postgres);
}

// proves: histories-follow-reference
#[test]
fn redis_replies_as_the_reference() {
    in_sequence(100, Backend::redis);
}

// proves: histories-follow-reference
#[test]
fn firestore_replies_as_the_reference() {
    in_sequence(20, Backend::firestore);
}
