//! Clients that retry as the guide for clients says, with shorter pauses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    crash_world::CrashWorld,
    leaving::leave,
    ledger::{Breach, FinalResponse, Ledger},
    rng::Rng,
};

/// The time for one try: a suspended service resumes within one of them, and its client has left within the other.
const PATIENCE: [Duration; 2] = [Duration::from_secs(10), Duration::from_millis(700)];

/// The longest pause, whatever Retry-After says.
const MAX_PAUSE: Duration = Duration::from_millis(250);

const FAULT_DELAY: &str = "x-fault-delay-ms";

/// One client of a `CrashWorld`.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    world: Arc<CrashWorld>,
    ledger: Arc<Ledger>,
    http: Client,
    /// A key without a response this long after the first failure is stuck.
    stuck_after: Duration,
    leaves: bool,
    /// Once this is set, no client retries.
    is_enough: Arc<AtomicBool>,
    rng: Rng,
}

/// The result of one try.
enum Reply {
    Booked {
        is_replayed: bool,
    },
    Refused,
    /// The client retries, perhaps after a pause.
    Nothing(Option<Duration>),
}

impl Caller {
    pub(crate) fn new(
        world: &Arc<CrashWorld>,
        ledger: &Arc<Ledger>,
        stuck_after: Duration,
        rng: Rng,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            ledger: Arc::clone(ledger),
            http: Client::new(),
            stuck_after,
            leaves: false,
            is_enough: Arc::default(),
            rng,
        }
    }

    /// A client that sometimes leaves before there is a response.
    pub(crate) fn leaving(self) -> Self {
        Self {
            leaves: true,
            ..self
        }
    }

    /// Books, as clients of all kinds do, until the run ends. Each booking has its own key.
    pub(crate) async fn work(mut self, is_enough: Arc<AtomicBool>) {
        self.is_enough = Arc::clone(&is_enough);
        let mut mine = Vec::new();
        while !is_enough.load(Ordering::Relaxed) {
            let key = format!("{:016x}{:016x}", self.rng.next(), self.rng.next());
            self.ledger.open(&key);
            match self.rng.below(10) {
                // It gives up after one try, which may have been carried out.
                0 | 1 => {
                    let service = self.rng.below(self.world.services.len());
                    self.try_once(service, &key).await;
                }
                // It is so impatient that it sends the request several times at once.
                2 | 3 => {
                    let copies = (0..3).map(|copy| {
                        let mut other = self.clone();
                        other.rng = Rng::of(self.rng.next(), copy);
                        let key = key.clone();
                        async move { other.insist(&key, None).await }
                    });
                    join_all(copies.collect::<Vec<_>>()).await;
                    mine.push(key);
                }
                // It leaves, and may retry.
                4 | 5 if self.leaves => {
                    for _ in 0..=self.rng.below(3) {
                        self.leave(&key).await;
                        sleep(self.rng.milliseconds(0..100)).await;
                    }
                    if !self.rng.one_in(4) {
                        self.insist(&key, None).await;
                        mine.push(key);
                    }
                }
                _ => {
                    self.insist(&key, None).await;
                    mine.push(key);
                }
            }
            // It retries although it has the response.
            if !mine.is_empty() && self.rng.one_in(3) {
                let key = mine[self.rng.below(mine.len())].clone();
                self.insist(&key, None).await;
            }
            sleep(self.rng.milliseconds(0..20)).await;
        }
    }

    /// Retries until there is a response, from this service or from any. Returns whether the response is a replay.
    pub(crate) async fn insist(&mut self, key: &str, service: Option<usize>) -> Option<bool> {
        let mut failed_at: Option<Instant> = None;
        let mut pause = Duration::from_millis(10);
        loop {
            let any = self.rng.below(self.world.services.len());
            match self.try_once(service.unwrap_or(any), key).await {
                Reply::Booked { is_replayed } => {
                    let waited = failed_at.map(|failed_at| failed_at.elapsed());
                    self.ledger.count_wait(waited.unwrap_or_default());
                    return Some(is_replayed);
                }
                Reply::Refused => return None,
                Reply::Nothing(_)
                    if self.ledger.is_stuck() || self.is_enough.load(Ordering::Relaxed) =>
                {
                    return None;
                }
                Reply::Nothing(asked) => {
                    let failed_at = failed_at.get_or_insert_with(Instant::now);
                    if failed_at.elapsed() > self.stuck_after {
                        self.ledger.report(Breach::Stuck(key.to_owned()));
                        return None;
                    }
                    self.ledger.count_retry();
                    pause = asked.unwrap_or(2 * pause).min(MAX_PAUSE);
                    sleep(pause + self.rng.milliseconds(0..20)).await;
                }
            }
        }
    }

    /// Closes its connection before there is a response, if it is fast enough.
    async fn leave(&mut self, key: &str) {
        let service = self.rng.below(self.world.services.len());
        let address = self.world.services[service].address.clone();
        let booking = booking(key).to_string();
        let mut request = format!(
            "POST /bookings HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nidempotency-key: {key}\r\n",
            booking.len()
        );
        if let Some(delay) = self.fault_delay() {
            request += &format!("{FAULT_DELAY}: {delay}\r\n");
        }
        request += &format!("\r\n{booking}");
        if leave(&address, request.as_bytes(), &mut self.rng).await {
            self.ledger.count_left();
        }
    }

    async fn try_once(&mut self, service: usize, key: &str) -> Reply {
        let Some(response) = self.send(service, key).await else {
            return Reply::Nothing(None);
        };
        let status = response.status().as_u16();
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let is_replayed = header("idempotent-replayed").is_some();
        let pause = header("retry-after").and_then(|seconds| seconds.parse().ok());
        let location = header("location");
        // The service may have died while it responded.
        let Ok(body) = response.bytes().await else {
            return Reply::Nothing(None);
        };
        let response = FinalResponse {
            status,
            location,
            body,
        };
        match status {
            201 => {
                self.ledger.acknowledge(key, response, is_replayed);
                Reply::Booked { is_replayed }
            }
            409 | 500.. => Reply::Nothing(pause.map(Duration::from_secs)),
            _ => {
                self.ledger
                    .report(Breach::Refused(key.to_owned(), response));
                Reply::Refused
            }
        }
    }

    /// `None` if the service is down, or dies meanwhile.
    async fn send(&mut self, service: usize, key: &str) -> Option<Response> {
        let url = format!("http://{}/bookings", self.world.services[service].address);
        let patience = PATIENCE[self.rng.below(2)];
        let request = self.http.post(url).timeout(patience);
        let mut request = request.header("idempotency-key", key);
        if let Some(delay) = self.fault_delay() {
            request = request.header(FAULT_DELAY, delay);
        }
        request.json(&booking(key)).send().await.ok()
    }

    /// The handlers take time, so that many are running when the service dies or the client leaves.
    fn fault_delay(&mut self) -> Option<String> {
        let is_slow = self.rng.one_in(4);
        is_slow.then(|| self.rng.milliseconds(1..300).as_millis().to_string())
    }
}

/// The booking of each key, which is its customer's name.
fn booking(key: &str) -> Value {
    json!({
        "service_id": "s1", "customer_name": key, "date": "2026-12-01", "time": "10:00",
    })
}
