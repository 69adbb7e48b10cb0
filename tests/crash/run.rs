//! One run from the start of the services to the verdict.

use std::{
    env, fmt,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    clients::Caller,
    crash_world::{CrashWorld, Kind, Mode},
    killer::{self, KillCounts},
    ledger::{Breach, Figures, Ledger},
    rng::Rng,
    runs::at_one_time,
    verdict::judge,
};

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    /// How often a service is killed, or only disturbed where services are not killed.
    pub(crate) kills: usize,
    /// How many kills there are for each suspension of a service.
    pub(crate) one_freeze_in: usize,
    /// Whether clients leave, and, where there is a network, replies are late and connections go dark.
    pub(crate) is_disturbed: bool,
    /// After which of the kills the database's server is killed too.
    pub(crate) server_kills: Vec<usize>,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Report {
    plan: Plan,
    world: Arc<CrashWorld>,
    counts: KillCounts,
    figures: Figures,
    /// The longest wait of a key after the last fault.
    last_wait: Duration,
    pub(crate) breaches: Vec<Breach>,
}

const CLIENTS: u64 = 16;

/// A key without a response after this time is stuck, even though kills continue.
const STUCK_AFTER: Duration = Duration::from_secs(45);

/// The same after the last fault, when every lease has expired: longer than the engine takes to notice that its
/// store responds again.
const MARGIN: Duration = Duration::from_secs(8);

/// Without `CRASH_KILLS`: enough to find a broken guarantee, see `broken.rs`.
const FEW_KILLS: usize = 12;

/// The same for another client, whose service is otherwise equal.
const FEW_KILLS_BY_A_CLIENT: usize = 6;

/// The same without kills: one fault takes seconds.
const FEW_STRIKES: usize = 6;

/// The actors' numbers, in addition to those of the clients.
const KILLER: u64 = 1000;
const JUDGE: u64 = 1001;
const BUILDER: u64 = 1002;

impl Plan {
    /// As many kills as the environment asks for, or a few.
    pub(crate) fn new(kind: Kind, mode: Mode) -> Self {
        let many: Option<usize> = variable("CRASH_KILLS");
        let kills = many.unwrap_or(few(mode));
        let seed = variable("CRASH_SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        Self {
            kind,
            mode,
            seed,
            kills,
            // A lease of a minute outlasts them.
            one_freeze_in: if mode.is_deadly() { 4 } else { 8 },
            is_disturbed: true,
            server_kills: match many {
                Some(_) => vec![kills / 3, kills / 3 * 2],
                None => vec![],
            },
        }
    }

    /// One of several short runs in which services are suspended as often as they die, and have no other faults, so that
    /// they do much in a short time.
    pub(crate) fn round(self, round: u64) -> Self {
        Self {
            seed: self.seed.wrapping_add(round),
            kills: few(self.mode),
            one_freeze_in: if self.mode.is_deadly() { 1 } else { 8 },
            is_disturbed: !self.mode.is_deadly(),
            server_kills: vec![],
            ..self
        }
    }
}

/// `None` where the database's server is not installed.
pub(crate) async fn run(plan: Plan) -> Option<Report> {
    println!("{:?}, {:?}: CRASH_SEED={}", plan.kind, plan.mode, plan.seed);
    let mut builder = Rng::of(plan.seed, BUILDER);
    let world = Arc::new(CrashWorld::start(plan.kind, plan.mode, &mut builder).await?);
    let ledger = Arc::new(Ledger::default());
    let is_enough = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let rng = Rng::of(plan.seed, number);
        let client = Caller::new(&world, &ledger, STUCK_AFTER, rng);
        let client = if plan.is_disturbed {
            client.leaving()
        } else {
            client
        };
        clients.spawn(client.work(Arc::clone(&is_enough)));
    }
    let counts = killer::kill(&world, &ledger, &plan, Rng::of(plan.seed, KILLER)).await;
    is_enough.store(true, Ordering::Relaxed);
    clients.join_all().await;

    let before = ledger.figures();
    ledger.take_longest_wait();
    let limit = plan.mode.lease() + MARGIN;
    let caller = Caller::new(&world, &ledger, limit, Rng::of(plan.seed, JUDGE));
    judge(&world, &ledger, caller).await;
    if !plan.mode.is_deadly() {
        for key in at_one_time(&world.runs()) {
            ledger.report(Breach::AtOneTime(key));
        }
    }
    let figures = Figures {
        replays: ledger.figures().replays,
        ..before
    };
    let report = Report {
        plan,
        world,
        counts,
        figures,
        last_wait: ledger.take_longest_wait(),
        breaches: ledger.breaches(),
    };
    println!("{report}");
    Some(report)
}

impl Report {
    /// Keeps the logs, and the database if it is a file, and prints where they are.
    fn keep(self) -> Option<PathBuf> {
        Some(Arc::into_inner(self.world)?.keep())
    }

    /// Asserts that there was no breach, although there was every kind of damage.
    ///
    /// # Panics
    ///
    /// If there was a breach, or a kind of damage is missing.
    pub(crate) fn assert_kept(self) {
        let KillCounts {
            kills,
            freezes,
            server_kills: _,
            late,
            dark,
        } = self.counts;
        assert!(kills > 0 || !self.plan.mode.is_deadly(), "{self}");
        assert!(freezes > 0 && self.figures.left > 0, "{self}");
        let has_network = self.plan.kind != Kind::Sqlite;
        assert!(!has_network || (late > 0 && dark > 0), "{self}");
        if !self.breaches.is_empty() {
            let (report, breaches) = (self.to_string(), self.breaches.clone());
            let folder = self.keep();
            panic!("{report}\n{breaches:#?}\nthe logs are in {folder:?}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            kind,
            mode,
            seed,
            kills: _,
            one_freeze_in: _,
            is_disturbed: _,
            server_kills: _,
        } = &self.plan;
        let KillCounts {
            kills,
            freezes,
            server_kills,
            late,
            dark,
        } = self.counts;
        let Figures {
            keys,
            acknowledged,
            retries,
            replays,
            left,
            longest_wait,
        } = self.figures;
        let duplicates = self.breaches.iter();
        let duplicates = duplicates.filter(|breach| matches!(breach, Breach::Duplicate(..)));
        write!(
            formatter,
            "{kind:?}, {mode:?}: {kills} kills, {freezes} suspended, {left} left, {late} late, {dark} dark, \
             {server_kills} kills of the database server, {keys} keys, {acknowledged} acknowledged, {retries} retries, \
             {replays} replays, {} duplicates, {} other breaches, at most {:.1} s until a key was answered again, \
             and {:.1} s at the end (CRASH_SEED={seed})",
            duplicates.clone().count(),
            self.breaches.len() - duplicates.count(),
            longest_wait.as_secs_f64(),
            self.last_wait.as_secs_f64(),
        )
    }
}

const fn few(mode: Mode) -> usize {
    match mode {
        Mode::Sqlx08 | Mode::TokioPostgres => FEW_KILLS_BY_A_CLIENT,
        _ if mode.is_deadly() => FEW_KILLS,
        _ => FEW_STRIKES,
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let value = value.parse().ok();
    Some(value.unwrap_or_else(|| panic!("{name} is a whole number")))
}
