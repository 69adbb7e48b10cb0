//! Which calls a history is made of.

use idempotency::OnLost;
use proptest::prelude::{Just, Strategy, prop_oneof};

use crate::call::{Call, How, Seen, Span, Verb};

/// Any call of these owners on these keys.
pub(crate) fn call(
    keys: impl Strategy<Value = u8>,
    owners: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Call> {
    let lease = prop_oneof![
        1 => Just(Span::Zero),
        4 => Just(Span::Units(0)),
        6 => Just(Span::Units(3)),
    ];
    let ttl = prop_oneof![
        1 => Just(Span::Zero),
        3 => Just(Span::Units(1)),
        6 => Just(Span::Units(9)),
    ];
    (keys, owners, lease, ttl, verb()).prop_map(|(key, owner, lease, ttl, verb)| Call {
        key,
        owner,
        lease,
        ttl,
        verb,
    })
}

fn verb() -> impl Strategy<Value = Verb> {
    let request = || prop_oneof![5 => Just(0), 1 => Just(1)];
    let on_lost = prop_oneof![3 => Just(OnLost::TakeOver), 1 => Just(OnLost::Refuse)];
    let claim =
        (request(), on_lost).prop_map(|(request, on_lost)| Verb::Claim { request, on_lost });
    let resolve = (seen(), how()).prop_map(|(seen, how)| Verb::Resolve { seen, how });
    prop_oneof![
        8 => claim,
        2 => request().prop_map(|request| Verb::Withdraw { request }),
        2 => Just(Verb::Renew),
        2 => bytes().prop_map(Verb::Checkpoint),
        2 => bytes().prop_map(Verb::Suspend),
        4 => bytes().prop_map(Verb::Complete),
        2 => Just(Verb::Release),
        4 => Just(Verb::Inspect),
        6 => resolve,
    ]
}

fn bytes() -> impl Strategy<Value = u8> {
    0..4_u8
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![Just(Seen::Inspected), Just(Seen::Own)]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        Just(How::Release),
        bytes().prop_map(How::Complete),
        bytes().prop_map(How::Replace),
        bytes().prop_map(How::Erase),
        Just(How::Forget),
    ]
}

/// By how many units the clock is moved: past leases, past ttls, or past all that is remembered.
pub(crate) fn units() -> impl Strategy<Value = u8> {
    prop_oneof![6 => 1..4_u8, 2 => Just(10), 1 => Just(100)]
}
