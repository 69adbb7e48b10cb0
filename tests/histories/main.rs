//! Random histories of every store: what several owners ask of it with several keys, and what it replies.
//!
//! Calls one after another get the replies of the reference, which is the library's own transitions. Concurrent ones, while replies
//! are lost and servers are killed, get for each key the replies of some order of the calls.
//!
//! A killed process of SQLite leaves its file as it is between two commits, and the next process opens it; `tests/crash` kills real processes
//! at any moment. The memory store is never opened again, because it ends with its process.
//!
//! Each history comes from a number. A failing test prints it, and `HISTORIES_SEED` repeats it; `HISTORIES=20` makes twenty times as
//! many.

mod backend;
mod call;
mod checked;
mod concurrent;
mod disturbed;
mod faulty;
mod history;
mod killed;
mod linearizability;
mod plan;
mod reference;
mod seeds;
mod sequential;
mod strategy;

use tests::faulty::CompletesForAnyone;

use backend::Backend;
use faulty::ReadsThenClaims;
use killed::Left;

/// A store that is not installed is skipped, loudly.
#[track_caller]
fn assert_right(checked: Option<Result<(), String>>) {
    if let Some(Err(found)) = checked {
        panic!("{found}");
    }
}

#[track_caller]
fn assert_found(checked: Option<Result<(), String>>) {
    if let Some(checked) = checked {
        let found = checked.expect_err("a mistake that no history shows");
        println!("{found}");
    }
}

// proves: histories-follow-transitions
#[test]
fn the_memory_store_takes_the_librarys_steps() {
    let memory = async || Some(Backend::memory());
    assert_right(sequential::check(400, memory));
}

// proves: histories-follow-transitions
#[test]
fn sqlite_takes_the_librarys_steps_although_its_process_is_killed() {
    let sqlite = async || Some(killed::sqlite(Left::Everything));
    assert_right(sequential::check(60, sqlite));
}

// proves: histories-follow-transitions
#[test]
fn postgres_takes_the_librarys_steps() {
    assert_right(sequential::check(60, Backend::postgres));
}

// proves: histories-follow-transitions
#[test]
fn redis_takes_the_librarys_steps() {
    assert_right(sequential::check(100, Backend::redis));
}

// proves: histories-follow-transitions
#[test]
fn firestore_takes_the_librarys_steps() {
    assert_right(sequential::check(16, Backend::firestore));
}

// proves: histories-have-an-order
#[test]
fn concurrent_steps_of_the_memory_store_have_an_order() {
    let memory = async || Some(Backend::memory());
    assert_right(concurrent::check(800, memory));
}

// proves: histories-have-an-order
#[test]
fn concurrent_steps_of_sqlite_have_an_order_although_its_process_is_killed() {
    let sqlite = async || Some(killed::sqlite(Left::Everything));
    assert_right(concurrent::check(60, sqlite));
}

// proves: histories-have-an-order
#[test]
fn concurrent_steps_of_postgres_have_an_order_although_it_is_killed() {
    assert_right(concurrent::check(24, disturbed::postgres));
}

// proves: histories-have-an-order
#[test]
fn concurrent_steps_of_redis_have_an_order_although_it_is_killed() {
    assert_right(concurrent::check(40, disturbed::redis));
}

// proves: histories-have-an-order
#[test]
fn concurrent_steps_of_firestore_have_an_order_although_replies_are_lost() {
    assert_right(concurrent::check(10, disturbed::firestore));
}

// proves: histories-find-mistakes, stale-owner-writes
#[test]
fn a_completion_for_anyone_is_found() {
    let faulty = async || Some(Backend::memory_as(CompletesForAnyone));
    assert_found(sequential::check(300, faulty));
    assert_found(concurrent::check(300, faulty));
}

// proves: histories-find-mistakes, check-then-claim
#[test]
fn a_claim_after_a_read_is_found_by_concurrent_callers() {
    let faulty = async || Some(Backend::memory_as(ReadsThenClaims));
    assert_right(sequential::check(100, faulty));
    assert_found(concurrent::check(3000, faulty));
}

// proves: histories-find-mistakes
#[test]
fn a_server_that_forgets_what_it_has_confirmed_is_found() {
    let forgetful = async || disturbed::redis_with(&[]).await;
    assert_found(concurrent::check(100, forgetful));
}

// proves: histories-find-mistakes
#[test]
fn a_file_without_what_its_process_has_confirmed_is_found() {
    let forgetful = async || Some(killed::sqlite(Left::NoLog));
    assert_found(sequential::check(30, forgetful));
    assert_found(concurrent::check(30, forgetful));
}

// proves: histories-find-mistakes
#[test]
fn the_sequences_meet_every_reply_of_every_verb() {
    let replies = [
        (
            "claim",
            "first, taken over, in flight, unknown, completed, spent",
        ),
        ("withdraw", "done"),
        ("renew", "done, not the owner"),
        ("checkpoint", "done, not the owner"),
        ("suspend", "done, not the owner"),
        ("complete", "done, not the owner"),
        ("release", "done, not the owner"),
        ("inspect", "a record, nothing"),
        ("release by an operator", "done, not the owner"),
        ("complete by an operator", "done, not the owner"),
        ("replace", "done, not the owner"),
        ("erase", "done, not the owner"),
        ("forget", "done, not the owner"),
    ];
    let each = replies.into_iter().flat_map(|(verb, replies)| {
        let replies = replies.split(", ");
        replies.map(move |reply| format!("{verb}: {reply}"))
    });
    assert_eq!(sequential::met(200), each.collect());
}
