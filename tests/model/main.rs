//! A model of the protocol: every order in which messages, faults, crashes and the clock can meet, for two requests with one key at
//! two processes. Its store takes the library's own transitions, and its engines the library's own decisions.
//!
//! `MODEL=large cargo test -p tests --test model` lets more time pass.

mod actions;
mod config;
mod mistakes;
mod protocol;
mod rules;
mod store;
mod world;

use std::env;

use config::Config;
use idempotency::OnLost;
use protocol::Protocol;
use stateright::{Checker, HasDiscoveries, Model};

/// Visits all worlds of a size, and fails with the shortest way into one that breaks a promise.
#[track_caller]
fn assert_promises(config: Config) {
    let config = match env::var("MODEL") {
        Ok(size) if size == "large" => config.enlarged(),
        _ => config,
    };
    let model = Protocol(config).checker().threads(2);
    let checked = model.finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    let checked = checked.join();
    checked.assert_properties();
    println!("{} worlds", checked.unique_state_count());
}

// proves: model-keeps-promises, stale-owner-writes, live-owner-replaced
#[test]
fn the_protocol_keeps_its_promises_when_lost_runs_are_taken_over() {
    assert_promises(Config::SMALL);
}

// proves: model-keeps-promises
#[test]
fn the_protocol_keeps_its_promises_when_lost_runs_are_refused() {
    assert_promises(Config {
        on_lost: OnLost::Refuse,
        ..Config::SMALL
    });
}

// proves: model-keeps-promises
#[test]
fn the_protocol_keeps_its_promises_when_records_expire() {
    assert_promises(Config {
        ttl: 2,
        crashes: 0,
        ..Config::SMALL
    });
}

// proves: model-keeps-promises
#[test]
fn one_transaction_commits() {
    assert_promises(Config {
        is_transactional: true,
        requests: 3,
        ..Config::SMALL
    });
}
