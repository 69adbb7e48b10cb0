//! Runs whose transaction carries the key's record, in one process and in two, with commits that nobody confirms.

use std::sync::{Arc, Mutex};

use idempotency::{
    Execution, OnLost, Options, Store,
    store::{Claim, ClaimRequest, Hold, Token},
};
use tokio::{spawn, task::yield_now};

use crate::{
    client::{Failed, leave_after, value},
    database::Fate,
    search::{search, search_leaving},
    shop::{Shop, TRANSACTIONAL},
    store::Speed,
    world::{KEY, LEASE, OPTIONS, TTL, call, key, scope},
};

// proves: schedules-keep-promises
#[test]
fn clients_of_one_process_get_the_value_of_the_only_transaction() {
    search(async |speed| {
        let shop = Shop::new(speed);
        let process = shop.process();
        let clients = [(); 3].map(|()| spawn(shop.call(&process, TRANSACTIONAL)));
        let mut booked = Vec::new();
        for client in clients {
            booked.push(value(client.await.expect("no abort")));
        }
        assert_eq!(shop.ledger.page(KEY).begun, 1);
        shop.end([process], booked).await;
    });
}

/// Each process may run, and one of them commits.
// proves: schedules-keep-promises, rows-and-key-commit-together
#[test]
fn one_of_two_processes_commits() {
    search(async |speed| {
        let shop = Shop::new(speed);
        let processes = [shop.process(), shop.process()];
        let clients = [0, 1, 1].map(|process| spawn(shop.call(&processes[process], TRANSACTIONAL)));
        let mut booked = Vec::new();
        for client in clients {
            booked.push(value(client.await.expect("no abort")));
        }
        assert!(shop.ledger.page(KEY).begun <= 2);
        shop.end(processes, booked).await;
    });
}

/// The row of the run that has committed is in the way of the other one, whose failure must not be its client's response.
// proves: schedules-keep-promises
#[test]
fn a_transaction_that_fails_on_an_equal_runs_row_gets_its_value() {
    search(async |speed| {
        let shop = Shop::new(speed);
        let processes = [shop.process(), shop.process()];
        let clients = processes.each_ref().map(|process| {
            let shop = shop.clone();
            let work = async move |run: Execution| {
                let begun = shop.ledger.begin(KEY);
                yield_now().await;
                // As a database would by a constraint.
                if !shop.rows().is_empty() {
                    return Err(Failed);
                }
                let insert = shop.database.insert(begun.number);
                let committed = run.commit_value_then(insert, |number| number).await;
                committed.map_err(|_| Failed)
            };
            spawn(call(process.clone(), TRANSACTIONAL, KEY, work))
        });
        let mut booked = Vec::new();
        for client in clients {
            booked.push(value(client.await.expect("no abort")));
        }
        shop.end(processes, booked).await;
    });
}

// proves: schedules-keep-promises, run-survives-client-leaving
#[test]
fn a_client_that_leaves_a_transaction_keeps_the_key_from_nobody() {
    search_leaving(async |speed, polls| {
        let shop = Shop::new(speed);
        let process = shop.process();
        let leaver = spawn(leave_after(polls, shop.call(&process, TRANSACTIONAL)));
        let stayer = spawn(shop.call(&process, TRANSACTIONAL));
        let reply = leaver.await.expect("no abort");
        let left = reply.is_none();
        let mut booked: Vec<_> = reply.map(value).into_iter().collect();
        booked.push(value(stayer.await.expect("no abort")));
        assert_eq!(shop.ledger.page(KEY).begun, 1);
        shop.end([process], booked).await;
        left
    });
}

/// Two processes, of which one does not learn what became of its commit.
async fn unconfirmed(speed: Speed, options: Options, fate: Fate) {
    let shop = Shop::new(speed);
    shop.database.decide(fate);
    let processes = [shop.process(), shop.process()];
    let clients = [0, 1, 0].map(|process| spawn(shop.call(&processes[process], options)));
    let mut booked = Vec::new();
    for client in clients {
        booked.extend(Shop::booked(client.await.expect("no abort")));
    }
    shop.end(processes, booked).await;
}

// proves: schedules-keep-promises, unknown-commit-applied-twice
#[test]
fn a_commit_whose_confirmation_is_lost_counts() {
    search(|speed| unconfirmed(speed, TRANSACTIONAL, Fate::Unconfirmed));
}

/// Once a client was told that nothing is committed, a commit on its way must not arrive.
// proves: schedules-keep-promises, unknown-commit-applied-twice
#[test]
fn a_commit_that_is_late_counts_or_never_arrives() {
    search(|speed| unconfirmed(speed, TRANSACTIONAL, Fate::Late));
}

/// The same for a transaction that completes a hold.
// proves: schedules-keep-promises, unknown-commit-applied-twice
#[test]
fn a_commit_under_a_lease_counts_although_its_confirmation_is_lost() {
    search(|speed| unconfirmed(speed, OPTIONS, Fate::Unconfirmed));
}

// proves: schedules-keep-promises, unknown-commit-applied-twice
#[test]
fn a_late_commit_under_a_lease_counts_or_never_arrives() {
    search(|speed| unconfirmed(speed, OPTIONS, Fate::Late));
}

/// The run is over while its commit may be on its way.
// proves: schedules-keep-promises, unknown-commit-applied-twice
#[test]
fn a_commit_that_its_run_drops_midway_counts_or_never_arrives() {
    search_leaving(async |speed, polls| {
        let shop = Shop::new(speed);
        let processes = [shop.process(), shop.process()];
        let hurried = {
            let shop = shop.clone();
            async move |run: Execution| {
                let begun = shop.ledger.begin("in a hurry");
                let number = 100 + begun.number;
                let insert = shop.database.insert(number);
                let commit = run.commit_value_then(insert, |number| number);
                match leave_after(polls, commit).await {
                    Some(Ok(number)) => Ok(number),
                    Some(Err(_)) => Err(Failed),
                    None => {
                        begun.has_effect();
                        Err(Failed)
                    }
                }
            }
        };
        let hurried = spawn(call(processes[0].clone(), TRANSACTIONAL, KEY, hurried));
        let other = spawn(shop.call(&processes[1], TRANSACTIONAL));
        let mut booked = Vec::new();
        match Shop::booked(hurried.await.expect("no abort")) {
            Some(number) => booked.push(number),
            None => shop.is_told_of(101),
        }
        booked.push(value(other.await.expect("no abort")));
        // The effect in the ledger is that the commit was dropped.
        let left = shop.ledger.page("in a hurry").effects > 0;
        shop.end(processes, booked).await;
        left
    });
}

/// A run of an earlier version of the service has died under a lease. Its key is taken over under a lease, and the transaction completes
/// that hold.
// proves: schedules-keep-promises, dead-owner-taken-over
#[test]
fn one_transaction_takes_over_from_a_lease() {
    search(async |speed| {
        let shop = Shop::new(speed);
        let processes = [shop.process(), shop.process()];
        let id = processes[0].record_id(&scope(), &key(KEY));
        let rows = Arc::clone(&shop.database.rows);
        // The process before has made the record of an equal request.
        let seen = Arc::new(Mutex::new(None));
        let looks = {
            let (rows, seen) = (Arc::clone(&rows), Arc::clone(&seen));
            async move |_| {
                let record = rows.inspect(&id).await.expect("a memory");
                *seen.lock().expect("no panic under the lock") = record;
                Err(Failed)
            }
        };
        let failed = call(processes[0].clone(), OPTIONS, KEY, looks).await;
        assert_eq!(Shop::booked(failed), None);
        let seen = seen.lock().expect("no panic under the lock").take();
        let fingerprint = seen.expect("its own record").fingerprint;
        let hold = Hold::new(id, Token::from_bytes([7; 16]), LEASE, TTL);
        let request = ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver);
        let claimed = rows.claim(request).await;
        assert!(matches!(claimed, Ok(Claim::Won { attempt: 1, .. })));
        rows.clock.advance(LEASE);
        let clients = [0, 0, 1].map(|process| spawn(shop.call(&processes[process], TRANSACTIONAL)));
        let mut booked = Vec::new();
        for client in clients {
            booked.push(value(client.await.expect("no abort")));
        }
        let page = shop.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (1, 1));
        shop.end(processes, booked).await;
    });
}
