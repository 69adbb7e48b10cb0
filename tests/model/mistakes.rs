//! Transitions that are wrong in one way each, and the promise that the model finds broken.

use std::time::Duration;

use idempotency::store::{Entry, Phase, Record, RecordId};
use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    config::Config,
    protocol::{ANSWERED, NO_ORPHAN, ONE_COMMIT, ONE_HOLD, OWNERS_ONLY, Protocol},
    rules::{LIBRARY, Rules},
    world::{ID, LEASE},
};

#[track_caller]
fn assert_finds(broken: &'static str, config: Config) {
    let model = Protocol(config).checker().threads(2);
    let checked = model
        .finish_when(HasDiscoveries::AnyOf([broken].into()))
        .spawn_bfs();
    let found = checked.join().discoveries();
    assert!(found.contains_key(broken), "found: {:?}", found.keys());
}

fn small(rules: Rules) -> Config {
    Config {
        rules,
        ..Config::SMALL
    }
}

fn record(entry: &Entry, id: &RecordId, now: std::time::SystemTime) -> Option<Record> {
    entry.inspect(id, now)
}

// proves: model-finds-mistakes
#[test]
fn a_renewal_that_ignores_the_token_is_found() {
    let rules = Rules {
        renew: |entry, hold, now| {
            let owner = record(entry, &hold.id, now).map_or(hold.token, |record| record.token);
            entry.renew(&hold.clone().with_token(owner), now)
        },
        ..LIBRARY
    };
    assert_finds(OWNERS_ONLY, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_completion_that_ignores_the_token_is_found() {
    let rules = Rules {
        complete: |entry, hold, outcome, now| {
            let owner = record(entry, &hold.id, now).map_or(hold.token, |record| record.token);
            entry.complete(&hold.clone().with_token(owner), outcome, now)
        },
        ..LIBRARY
    };
    assert_finds(OWNERS_ONLY, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_take_over_of_a_live_hold_is_found() {
    let rules = Rules {
        claim: |entry, request, now| entry.claim(request, now + Duration::from_secs(LEASE.into())),
        ..LIBRARY
    };
    assert_finds(ONE_HOLD, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_take_over_that_forgets_the_steps_is_found() {
    let rules = Rules {
        claim: |entry, request, now| {
            if let Some(mut record) = record(entry, &ID, now)
                && let Phase::InFlight { progress, .. } = &mut record.phase
            {
                progress.clear();
                *entry = Entry::from_record(record, &entry.spent_tokens());
            }
            entry.claim(request, now)
        },
        ..LIBRARY
    };
    assert_finds(OWNERS_ONLY, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_withdrawal_that_spends_no_token_is_found() {
    let rules = Rules {
        withdraw: |entry, hold, now| {
            let done = entry.withdraw(hold, now);
            if record(entry, &hold.id, now).is_none() {
                *entry = Entry::default();
            }
            done
        },
        ..LIBRARY
    };
    assert_finds(NO_ORPHAN, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_lease_that_counts_from_its_reply_is_found() {
    let rules = Rules {
        counts_from_sending: false,
        ..LIBRARY
    };
    assert_finds(ONE_HOLD, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_key_that_is_never_taken_over_is_found() {
    let rules = Rules {
        claim: |entry, request, now| {
            let never = now - Duration::from_secs(1000);
            match record(entry, &ID, now) {
                Some(found) if found.token != request.hold.token => entry.claim(request, never),
                _ => entry.claim(request, now),
            }
        },
        ..LIBRARY
    };
    assert_finds(ANSWERED, small(rules));
}

// proves: model-finds-mistakes
#[test]
fn a_commit_over_the_record_of_another_run_is_found() {
    let rules = Rules {
        commit_is_unique: false,
        ..LIBRARY
    };
    let config = small(rules);
    assert_finds(
        ONE_COMMIT,
        Config {
            is_transactional: true,
            ..config
        },
    );
}
