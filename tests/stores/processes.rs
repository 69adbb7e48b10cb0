//! Two processes of `core-api` that share a store.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use rstest_reuse::{apply, template};
use tests::{
    reply::Reply,
    servers::{
        firestore::{Documents, FirestoreEmulator},
        postgres::advance,
        redis::{RedisServer, set_back},
    },
};
use tokio::task::JoinSet;

use crate::{
    firestore::unused_project,
    postgres::{database, pooler},
    service::Service,
};

/// Longer than the lease of a request, and much shorter than its ttl.
const PAST_THE_LEASE: Duration = Duration::from_secs(60);

/// How long a handler takes whose process the test kills midway: long enough to be killed before its end.
const STOPPED_WITHIN: u32 = 3_000;

/// The prefix of `core-api`'s keys in Redis.
const PREFIX: &str = "idempotency:";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Postgres,
    PgBouncer,
    Redis,
    Firestore,
}

/// The stores that processes can share.
#[template]
#[rstest::rstest]
#[case::postgres(Kind::Postgres)]
#[case::redis(Kind::Redis)]
#[case::firestore(Kind::Firestore)]
fn each_shared_store(#[case] kind: Kind) {}

/// The stores whose database also has the bookings.
#[template]
#[rstest::rstest]
#[case::postgres(Kind::Postgres)]
#[case::firestore(Kind::Firestore)]
fn each_shared_database(#[case] kind: Kind) {}

/// Where the bookings of a process are, and when its keys are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The bookings are in the keys' database, and their transactions carry the keys.
    Committing,
    /// The bookings are in the keys' database, and the keys are claimed first.
    Leasing,
    /// The bookings are in the process's memory.
    Keys,
}

/// A store on its server, and the options with which a process uses it.
struct Shared {
    url: String,
    variables: Vec<(&'static str, String)>,
    server: Server,
}

enum Server {
    /// The URL of the database without a pooler.
    Postgres(String),
    Redis(RedisServer),
    Firestore(Documents),
}

impl Kind {
    fn modes(self) -> &'static [Mode] {
        match self {
            Self::Redis => &[Mode::Keys],
            Self::Postgres | Self::PgBouncer | Self::Firestore => {
                &[Mode::Committing, Mode::Leasing, Mode::Keys]
            }
        }
    }
}

impl Shared {
    /// An empty store, or `None` where it is not installed.
    async fn open(kind: Kind) -> Option<Self> {
        let (url, variables, server) = match kind {
            Kind::Postgres => {
                let url = database().await?;
                (url.clone(), vec![], Server::Postgres(url))
            }
            Kind::PgBouncer => {
                let url = database().await?;
                (pooler()?.url(&url), vec![], Server::Postgres(url))
            }
            Kind::Redis => {
                // `core-api` has one prefix, so each test has a server.
                let server = RedisServer::start(&[])?;
                (server.url(), vec![], Server::Redis(server))
            }
            Kind::Firestore => {
                let (project, address) = (unused_project(), FirestoreEmulator::shared()?.address());
                let documents = Documents::new(&address, &project);
                let variables = vec![("FIRESTORE_EMULATOR_HOST", address)];
                let url = format!("firestore://{project}");
                (url, variables, Server::Firestore(documents))
            }
        };
        Some(Self {
            url,
            variables,
            server,
        })
    }

    fn options(&self, mode: Mode) -> Vec<&str> {
        match mode {
            Mode::Committing => vec!["--database", &self.url],
            Mode::Leasing => vec!["--database", &self.url, "--idempotency-store", &self.url],
            Mode::Keys => vec!["--database", "memory:", "--idempotency-store", &self.url],
        }
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        let variables = self.variables.iter();
        variables
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    fn start(&self, mode: Mode) -> Service {
        Service::start_with(&self.options(mode), &self.variables())
    }

    fn start_two(&self, mode: Mode) -> [Service; 2] {
        [(); 2].map(|()| self.start(mode))
    }

    /// Lets time pass for the store.
    fn pass(&self, time: Duration) {
        match &self.server {
            Server::Postgres(url) => advance(url, time),
            Server::Redis(server) => set_back(server, PREFIX, time),
            Server::Firestore(documents) => documents.set_back(time),
        }
    }
}

/// A booking whose handler takes this long.
fn slow(service: &Service, milliseconds: u32) -> RequestBuilder {
    let booking = service.booking("ann-1");
    booking.header("X-Fault-Delay-Ms", milliseconds)
}

/// A booking whose process is killed once its handler has begun.
async fn kill_midway(service: Service) {
    let cut_off = tokio::spawn(slow(&service, 600_000).send());
    service.wait_for_log("injected a delay").await;
    drop(service);
    let cut_off = cut_off.await.expect("the request");
    drop(cut_off.expect_err("no response"));
}

// proves: one-atomic-claim, running-duplicate-gets-409, concurrent-equals-run-once
// proves: processes-share-store, check-then-claim, waiters-exhaust-pool, contention-as-error
#[apply(each_shared_store)]
#[case::pgbouncer(Kind::PgBouncer)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_equal_requests_to_two_processes_one_books(#[case] kind: Kind) {
    for &mode in kind.modes() {
        let Some(shared) = Shared::open(kind).await else {
            return;
        };
        let services = shared.start_two(mode);
        let mut requests = JoinSet::new();
        for number in 0..40 {
            // Half of them wait.
            let patience = if number % 4 < 2 { "wait=10" } else { "wait=0" };
            let booking = services[number % 2].booking("ann-1");
            requests.spawn(Reply::to(booking.header("Prefer", patience)));
        }
        let replies = requests.join_all().await;
        let is_first = |reply: &&Reply| reply.status == StatusCode::CREATED && !reply.is_replay();
        let first: Vec<_> = replies.iter().filter(is_first).collect();
        assert_eq!(first.len(), 1, "{mode:?}: {replies:?}");
        for reply in &replies {
            match reply.status {
                StatusCode::CREATED => assert_eq!(reply.body, first[0].body),
                StatusCode::CONFLICT => assert!(!reply.is_replay()),
                _ => panic!("201 or 409, and not {reply:?}"),
            }
        }
        let mut bookings = 0;
        for service in &services {
            bookings += service.bookings().await;
            let replay = Reply::to(service.booking("ann-1")).await;
            assert!(replay.is_replay(), "{mode:?}: {replay:?}");
            assert_eq!(replay.body, first[0].body);
        }
        // Bookings in the database are listed by both.
        assert_eq!(bookings, if mode == Mode::Keys { 1 } else { 2 }, "{mode:?}");
    }
}

// proves: hold-lives-by-renewal, dead-owner-taken-over, crash-locks-for-ttl, interrupted-run-stuck
#[apply(each_shared_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_process_had_begun_is_taken_over_once_its_lease_is_over(#[case] kind: Kind) {
    for &mode in kind.modes() {
        if mode == Mode::Committing {
            continue;
        }
        let Some(shared) = Shared::open(kind).await else {
            return;
        };
        let [killed, other] = shared.start_two(mode);
        kill_midway(killed).await;
        let early = Reply::to(other.booking("ann-1")).await;
        assert_eq!(early.status, StatusCode::CONFLICT);
        assert_eq!(other.bookings().await, 0);
        shared.pass(PAST_THE_LEASE);
        let taken_over = Reply::to(other.booking("ann-1")).await;
        taken_over.assert_fresh(201);
        assert!(Reply::to(other.booking("ann-1")).await.is_replay());
        assert_eq!(other.bookings().await, 1);
    }
}

/// Its transaction ends with its process or was never sent, so a retry need not wait.
// proves: dead-owner-taken-over, rows-and-key-commit-together, crash-locks-for-ttl
#[apply(each_shared_database)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_is_killed_before_its_commit_leaves_nothing(#[case] kind: Kind) {
    let Some(shared) = Shared::open(kind).await else {
        return;
    };
    let [killed, other] = shared.start_two(Mode::Committing);
    kill_midway(killed).await;
    let retry = Reply::to(other.booking("ann-1")).await;
    retry.assert_fresh(201);
    assert_eq!(other.bookings().await, 1);
}

/// Its commit fails at the key, and its booking is rolled back.
// proves: lost-lease-stores-nothing, rows-and-key-commit-together, stale-owner-writes
// proves: lost-claim-as-outage, contention-as-error
#[apply(each_shared_database)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_was_paused_in_its_handler_commits_nothing(#[case] kind: Kind) {
    let Some(shared) = Shared::open(kind).await else {
        return;
    };
    let [paused, other] = shared.start_two(Mode::Committing);
    let late = tokio::spawn(Reply::to(slow(&paused, STOPPED_WITHIN)));
    paused.wait_for_log("injected a delay").await;
    paused.signal("STOP");
    let first = Reply::to(other.booking("ann-1")).await;
    first.assert_fresh(201);
    paused.signal("CONT");
    late.await.expect("the request").assert_replays(&first);
    assert_eq!(other.bookings().await, 1);
}

// proves: lost-lease-stores-nothing, stale-owner-writes, run-outlives-lease
#[apply(each_shared_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_was_paused_past_its_lease_stores_nothing(#[case] kind: Kind) {
    let Some(shared) = Shared::open(kind).await else {
        return;
    };
    let [paused, other] = shared.start_two(Mode::Keys);
    let late = tokio::spawn(Reply::to(slow(&paused, STOPPED_WITHIN)));
    paused.wait_for_log("injected a delay").await;
    paused.signal("STOP");
    shared.pass(PAST_THE_LEASE);
    let taken_over = Reply::to(other.booking("ann-1")).await;
    taken_over.assert_fresh(201);

    paused.signal("CONT");
    // The client gets the response of the process that took over, and no client gets the late one.
    late.await.expect("the request").assert_replays(&taken_over);
    // This is not an error, but operators may want to know.
    let lost = "a run outlived its lease and another one took over";
    paused.wait_for_log(lost).await;
    let log = paused.logged();
    let line = log.lines().find(|line| line.contains(lost));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
    for service in [&paused, &other] {
        Reply::to(service.booking("ann-1"))
            .await
            .assert_replays(&taken_over);
    }
}

// proves: store-clock-decides, clock-skew-early-takeover
#[apply(each_shared_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_whose_clock_is_ahead_takes_nothing_over_early(#[case] kind: Kind) {
    let Some(shared) = Shared::open(kind).await else {
        return;
    };
    let (options, variables) = (shared.options(Mode::Keys), shared.variables());
    let Some(ahead) = Service::start_a_day_ahead(&options, &variables).await else {
        return;
    };
    let punctual = shared.start(Mode::Keys);
    let running = tokio::spawn(Reply::to(slow(&punctual, 1_000)));
    punctual.wait_for_log("injected a delay").await;
    let early = Reply::to(ahead.booking("ann-1")).await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    running.await.expect("the request").assert_fresh(201);
    // Nor does a ttl end earlier for this process, or later for its own records.
    let replay = Reply::to(ahead.booking("ann-1")).await;
    assert!(replay.is_replay(), "{replay:?}");
    let ttl = Duration::from_secs(3600);
    for service in [&ahead, &punctual] {
        Reply::to(ahead.booking("ann-2")).await.assert_fresh(201);
        shared.pass(ttl - PAST_THE_LEASE);
        assert!(Reply::to(service.booking("ann-2")).await.is_replay());
        shared.pass(ttl);
    }
}

/// The bookings stay in the memory of each process, and only one of them has a booking.
// proves: processes-share-store
#[apply(each_shared_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_alone_can_be_shared(#[case] kind: Kind) {
    let Some(shared) = Shared::open(kind).await else {
        return;
    };
    let services = shared.start_two(Mode::Keys);
    let first = Reply::to(services[0].booking("ann-1")).await;
    first.assert_fresh(201);
    Reply::to(services[1].booking("ann-1"))
        .await
        .assert_replays(&first);
    assert_eq!(services[0].bookings().await, 1);
    assert_eq!(services[1].bookings().await, 0);
}
