//! Clocks that jump, while the service runs and while it does not.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A service that can be stopped and started, and the clock of its machine.
struct Machine {
    folder: Folder,
    clock: Clock,
    store: Option<SqliteStore>,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            folder: Folder::new(),
            clock: Clock::manual(),
            store: None,
        };
        machine.restart();
        machine
    }

    fn restart(&mut self) {
        self.store = None;
        let store = SqliteStore::open(self.folder.file()).expect("a store");
        self.store = Some(store.with_clock(self.clock.clone()));
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().expect("it runs")
    }

    fn leap(&self, ahead: Duration) {
        self.clock.set_wall(self.clock.wall() + ahead);
    }

    fn leap_back(&self, behind: Duration) {
        self.clock.set_wall(self.clock.wall() - behind);
    }

    /// Completes this key, and returns the expiry time that was promised.
    async fn complete(&self, key: u8) -> std::time::SystemTime {
        let owner = hold(key);
        let claimed = claim(self.store(), &owner, &asked()).await;
        assert_eq!(claimed.ok(), Some(won(1)), "{key}");
        match self.store().complete(&owner, Bytes::new()).await {
            Ok(IfOwner::Done(expires_at)) => expires_at,
            other => panic!("the owner completes, and not {other:?}"),
        }
    }

    /// Also after a sweep.
    async fn replays(&self, key: u8) {
        self.store().purge_expired(10).await.expect("a sweep");
        let replay = claim(self.store(), &hold(key), &asked()).await;
        let is_replayed = matches!(replay, Ok(Claim::Completed { .. }));
        assert!(is_replayed, "{key}: {replay:?}");
    }

    async fn is_gone(&self, key: u8) {
        self.store().purge_expired(10).await.expect("a sweep");
        let record = self.store().inspect(&hold(key).id).await;
        assert_eq!(record.ok(), Some(None), "{key}");
    }
}

// proves: store-clock-decides, clock-leap-forgets-none
#[tokio::test]
async fn a_clock_put_forward_while_it_runs_ends_no_key_early() {
    let mut machine = Machine::new();
    machine.complete(1).await;
    machine.leap(2 * DAY);
    machine.replays(1).await;
    let promised = machine.complete(2).await;
    assert_eq!(promised, machine.clock.wall() + TTL);
    machine.restart();
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(1).await;
    machine.replays(2).await;
    machine.clock.advance(MILLISECOND);
    // Both have lived for their ttl, and no longer.
    assert_eq!(machine.store().purge_expired(10).await.ok(), Some(2));
}

/// If it were dated by the process's own elapsed time, the record would expire too early after the restart.
// proves: clock-leap-forgets-none
#[tokio::test]
async fn a_key_that_is_completed_after_the_machine_slept_lives_for_its_ttl() {
    let mut machine = Machine::new();
    machine.complete(1).await;
    machine.leap(8 * TTL);
    machine.complete(2).await;
    machine.restart();
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(2).await;
}

// proves: store-clock-decides, clock-leap-forgets-none
#[tokio::test]
async fn a_start_with_the_clock_ahead_forgets_no_key_and_sweeps_none() {
    let mut machine = Machine::new();
    machine.complete(1).await;
    machine.leap(2 * DAY);
    machine.restart();
    machine.replays(1).await;
    machine.complete(2).await;
    // Also not the next one.
    machine.restart();
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(1).await;
    machine.replays(2).await;
    machine.clock.advance(MILLISECOND);
    assert_eq!(machine.store().purge_expired(10).await.ok(), Some(2));

    // The file's time has caught up with the clock, so that keys live no longer than they should.
    machine.complete(3).await;
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(3).await;
    machine.clock.advance(MILLISECOND);
    machine.is_gone(3).await;
}

// proves: clock-leap-forgets-none
#[tokio::test]
async fn a_clock_that_was_ahead_and_is_corrected_leaves_everything_unchanged() {
    let mut machine = Machine::new();
    machine.complete(1).await;
    machine.leap(2 * DAY);
    machine.restart();
    machine.complete(2).await;
    for is_running in [true, false] {
        machine.leap_back(2 * DAY);
        if !is_running {
            machine.restart();
        }
        machine.replays(1).await;
        machine.replays(2).await;
        machine.leap(2 * DAY);
        machine.replays(1).await;
        machine.replays(2).await;
    }
    machine.leap_back(2 * DAY);
    assert_eq!(machine.complete(3).await, machine.clock.wall() + TTL);
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(1).await;
    machine.replays(3).await;
    machine.clock.advance(MILLISECOND);
    machine.is_gone(1).await;
    machine.is_gone(3).await;
    // That record has a date from when the clock was wrong.
    machine.replays(2).await;
    machine.clock.advance(2 * DAY);
    machine.is_gone(2).await;
}

// proves: store-clock-decides, clock-leap-forgets-none
#[tokio::test]
async fn a_start_with_the_clock_behind_keeps_keys_and_revives_no_lease() {
    let mut machine = Machine::new();
    machine.complete(1).await;
    let (lapsed, dead) = (hold(2), hold(3));
    claim(machine.store(), &lapsed, &asked()).await.ok();
    machine.clock.advance(LEASE);
    claim(machine.store(), &dead, &asked()).await.ok();
    machine.leap_back(2 * DAY);
    machine.restart();
    machine.replays(1).await;
    let refused = machine.store();
    let refused = refused
        .claim(ClaimRequest::new(&hold(2), &asked(), OnLost::Refuse))
        .await;
    let fingerprint = asked();
    assert_eq!(refused.ok(), Some(Claim::unknown(fingerprint)));
    let taken = claim(machine.store(), &hold(2), &asked()).await;
    assert_eq!(taken.ok(), Some(won(2)));
    lives_for_its_lease(&machine, 3).await;
    // Once corrected, the clock is ahead of the file's time, which is not a reason to forget records.
    machine.leap(2 * DAY);
    machine.replays(1).await;
}

// proves: dead-owner-taken-over, clock-leap-forgets-none
#[tokio::test]
async fn a_lease_outlives_a_restart_by_its_own_length_at_most_whatever_the_clock_shows() {
    for is_ahead in [true, false] {
        let mut machine = Machine::new();
        let dead = hold(3);
        claim(machine.store(), &dead, &asked()).await.ok();
        if is_ahead {
            machine.leap(2 * DAY);
        } else {
            machine.leap_back(2 * DAY);
        }
        machine.restart();
        lives_for_its_lease(&machine, 3).await;
        let late = machine.store().complete(&dead, Bytes::new()).await;
        assert_eq!(late.ok(), Some(IfOwner::NotOwner));
    }
}

/// The key was claimed just now, and its owner has died.
async fn lives_for_its_lease(machine: &Machine, key: u8) {
    let (store, fingerprint) = (machine.store(), asked());
    machine.clock.advance(LEASE - MILLISECOND);
    let early = claim(store, &hold(key), &asked()).await;
    assert_eq!(early.ok(), Some(Claim::in_flight(fingerprint)));
    machine.clock.advance(MILLISECOND);
    let refused = store
        .claim(ClaimRequest::new(&hold(key), &asked(), OnLost::Refuse))
        .await;
    assert_eq!(refused.ok(), Some(Claim::unknown(fingerprint)));
    let taken = claim(store, &hold(key), &asked()).await;
    assert_eq!(taken.ok(), Some(won(2)));
}

// proves: clock-leap-forgets-none
#[tokio::test]
async fn a_lease_goes_by_the_time_that_passes_and_is_shown_by_the_clock() {
    let machine = Machine::new();
    let owner = hold(1);
    claim(machine.store(), &owner, &asked()).await.ok();
    machine.leap(2 * DAY);
    assert_eq!(
        machine.store().renew(&owner).await.ok(),
        Some(IfOwner::Done(()))
    );
    let record = machine.store().inspect(&owner.id).await.expect("a read");
    let phase = record.expect("a record").phase;
    let Phase::InFlight { lease_until, .. } = phase else {
        panic!("the hold lives, and is not {phase:?}");
    };
    assert_eq!(lease_until, machine.clock.wall() + LEASE);
    machine.leap_back(4 * DAY);
    lives_for_its_lease(&machine, 1).await;
}

/// The service starts with the machine, before the machine's clock is set.
// proves: store-clock-decides, clock-leap-forgets-none
#[tokio::test]
async fn a_clock_that_is_set_only_after_the_start_ends_no_key_early_and_keeps_none_for_ever() {
    let mut machine = Machine::new();
    let right = machine.clock.wall();
    machine.complete(1).await;
    machine.clock.set_wall(std::time::UNIX_EPOCH);
    machine.restart();
    machine.replays(1).await;
    assert_eq!(machine.complete(2).await, right + TTL);
    machine.clock.set_wall(right);
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(1).await;
    machine.replays(2).await;
    machine.clock.advance(MILLISECOND);
    assert_eq!(machine.store().purge_expired(10).await.ok(), Some(2));
}

// proves: clock-leap-forgets-none
#[tokio::test]
async fn a_file_that_was_made_by_a_wrong_clock_goes_by_the_right_one_after_a_day() {
    let mut machine = Machine::new();
    machine.leap(20 * DAY);
    machine.restart();
    machine.complete(1).await;
    machine.leap_back(20 * DAY);
    for key in 2..4 {
        machine.restart();
        machine.complete(key).await;
        machine.clock.advance(DAY / 2);
        machine.replays(1).await;
    }
    assert_eq!(machine.complete(4).await, machine.clock.wall() + TTL);
    machine.clock.advance(TTL - MILLISECOND);
    machine.replays(4).await;
    machine.clock.advance(MILLISECOND);
    machine.is_gone(4).await;
    machine.replays(1).await;
}

/// A service that is stopped each night does not fall behind by those nights.
// proves: clock-leap-forgets-none
#[tokio::test]
async fn the_time_in_the_file_comes_up_to_the_clock_while_nights_come_and_go() {
    let mut machine = Machine::new();
    for key in 0..20 {
        machine.complete(key).await;
        // Down for longer than a key's ttl, and then up for as long.
        machine.leap(2 * TTL);
        machine.restart();
        machine.replays(key).await;
        machine.clock.advance(TTL);
        machine.is_gone(key).await;
    }
    machine.complete(100).await;
    machine.clock.advance(TTL);
    machine.is_gone(100).await;
}

/// The file does not have a time yet.
#[tokio::test]
async fn a_file_of_the_first_release_is_taken_as_it_is() {
    let mut machine = Machine::new();
    machine.complete(1).await;
    machine.store = None;
    let later = [
        "spent",
        "scope",
        "created_at",
        "completed_at",
        "route",
        "label",
    ];
    let connection = earlier_file(&machine.folder.file(), &later);
    let older = connection.execute_batch("drop table idempotency_clock");
    older.expect("a file of the first release");
    drop(connection);
    machine.restart();
    machine.replays(1).await;
}
