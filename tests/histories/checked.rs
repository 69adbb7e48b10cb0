//! Tests of the search itself, on histories that are written by hand.

use std::time::SystemTime;

use bytes::Bytes;
use idempotency::{OnLost, store::Claim};

use crate::{
    backend::Backend,
    call::{Call, Reply, Span, Verb, fingerprint},
    history::{Operation, What},
    linearizability::explain,
    reference::Reference,
};

fn call(owner: u8, verb: Verb) -> Call {
    Call {
        key: 0,
        owner,
        lease: Span::Units(0),
        ttl: Span::Units(1),
        verb,
    }
}

/// A claim of this owner, from one moment to another one.
fn claim(owner: u8, moments: [u64; 2], reply: Option<Claim>) -> Operation {
    let on_lost = OnLost::TakeOver;
    let what = What::Call {
        call: call(
            owner,
            Verb::Claim {
                request: 0,
                on_lost,
            },
        ),
        inspected: None,
        reply: reply.map(Reply::Claim),
        may_be_repeated: false,
    };
    operation(what, moments)
}

fn release(owner: u8, moments: [u64; 2]) -> Operation {
    let what = What::Call {
        call: call(owner, Verb::Release),
        inspected: None,
        reply: Some(Reply::Done),
        may_be_repeated: false,
    };
    operation(what, moments)
}

const fn operation(what: What, [invoked, returned]: [u64; 2]) -> Operation {
    Operation {
        what,
        invoked,
        returned,
    }
}

fn won(attempt: u32) -> Option<Claim> {
    Some(Claim::won(attempt, Bytes::new()))
}

fn in_flight() -> Option<Claim> {
    Some(Claim::in_flight(fingerprint(0)))
}

fn is_explained(operations: &[Operation]) -> bool {
    let key = Reference::new(Backend::id(0, 0), SystemTime::UNIX_EPOCH);
    explain(&key, operations).is_ok()
}

const NEVER: u64 = u64::MAX;

// proves: histories-find-mistakes
#[test]
fn one_of_two_concurrent_claims_wins_and_never_both() {
    assert!(is_explained(&[
        claim(0, [0, 3], in_flight()),
        claim(1, [1, 2], won(1)),
    ]));
    assert!(!is_explained(&[
        claim(0, [0, 3], won(1)),
        claim(1, [1, 2], won(1)),
    ]));
}

// proves: histories-find-mistakes
#[test]
fn a_claim_loses_only_to_one_that_may_have_come_before_it() {
    assert!(!is_explained(&[
        claim(0, [0, 1], in_flight()),
        claim(1, [2, 3], won(1)),
    ]));
}

// proves: histories-find-mistakes
#[test]
fn a_claim_without_a_reply_may_have_been_done_at_any_time_or_never() {
    assert!(is_explained(&[
        claim(0, [0, NEVER], None),
        claim(1, [1, 2], in_flight()),
    ]));
    assert!(is_explained(&[
        claim(0, [0, NEVER], None),
        claim(1, [1, 2], won(1)),
        release(1, [3, 4]),
        claim(2, [5, 6], in_flight()),
    ]));
    assert!(!is_explained(&[
        claim(1, [0, 1], in_flight()),
        claim(0, [2, NEVER], None),
    ]));
}

// proves: histories-find-mistakes
#[test]
fn a_claim_without_a_reply_may_have_read_the_clock_before_it_was_moved() {
    let late = [
        claim(0, [0, NEVER], None),
        operation(What::Advance(1), [1, 2]),
        claim(1, [3, 4], won(2)),
    ];
    assert!(is_explained(&late));
    let [claimed, moved, taken] = late;
    let sent_afterwards = Operation {
        invoked: 3,
        ..claimed
    };
    assert!(!is_explained(&[moved, sent_afterwards, taken]));
}

// proves: histories-find-mistakes
#[test]
fn a_take_over_is_explained_by_the_clock_alone() {
    let first = claim(0, [0, 1], won(1));
    let second = claim(1, [4, 5], won(2));
    let moved = operation(What::Advance(1), [2, 3]);
    assert!(!is_explained(&[first.clone(), second.clone()]));
    assert!(is_explained(&[first, moved, second]));
}
