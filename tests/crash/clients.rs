//! Clients that retry as README.md asks them to, in more of a hurry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    chance::Chance,
    ledger::{Answer, Breach, Ledger},
    world::World,
};

/// The time for one try: a service that is frozen goes on within the one, and has been left within the other.
const PATIENCE: [Duration; 2] = [Duration::from_secs(10), Duration::from_millis(700)];

/// A key that has no answer by then is stuck: a minute and a half later, where services answer at once.
const MOST_TRIES: usize = 400;

/// However long a service asks to wait.
const MOST_PAUSE: Duration = Duration::from_millis(250);

/// One client of a world.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    world: Arc<World>,
    ledger: Arc<Ledger>,
    http: Client,
    chance: Chance,
}

/// What came of one try.
enum Told {
    Booked {
        is_replayed: bool,
    },
    Refused,
    /// To ask again, perhaps after a pause.
    Nothing(Option<Duration>),
}

impl Caller {
    pub(crate) fn new(world: &Arc<World>, ledger: &Arc<Ledger>, chance: Chance) -> Self {
        Self {
            world: Arc::clone(world),
            ledger: Arc::clone(ledger),
            http: Client::new(),
            chance,
        }
    }

    /// Books, as clients of all kinds do, until there is enough; each booking has a key of its own.
    pub(crate) async fn work(mut self, is_enough: Arc<AtomicBool>) {
        let mut mine = Vec::new();
        while !is_enough.load(Ordering::Relaxed) {
            let key = format!("{:016x}{:016x}", self.chance.next(), self.chance.next());
            self.ledger.open(&key);
            match self.chance.below(10) {
                // It gives up after one try, which may have been carried out.
                0 | 1 => {
                    let service = self.chance.below(self.world.services.len());
                    self.try_once(service, &key).await;
                }
                // It is so impatient that it asks several times at once.
                2 | 3 => {
                    let copies = (0..3).map(|copy| {
                        let mut other = self.clone();
                        other.chance = Chance::of(self.chance.next(), copy);
                        let key = key.clone();
                        async move { other.insist(&key, None).await }
                    });
                    join_all(copies.collect::<Vec<_>>()).await;
                    mine.push(key);
                }
                _ => {
                    self.insist(&key, None).await;
                    mine.push(key);
                }
            }
            // It has forgotten that it knows.
            if !mine.is_empty() && self.chance.one_in(3) {
                let key = mine[self.chance.below(mine.len())].clone();
                self.insist(&key, None).await;
            }
            sleep(self.chance.milliseconds(0..20)).await;
        }
    }

    /// Asks until there is an answer, of this service or of any; whether the answer said that it is a replay.
    pub(crate) async fn insist(&mut self, key: &str, service: Option<usize>) -> Option<bool> {
        let mut failed_at: Option<Instant> = None;
        let mut pause = Duration::from_millis(10);
        for _ in 0..MOST_TRIES {
            let any = self.chance.below(self.world.services.len());
            match self.try_once(service.unwrap_or(any), key).await {
                Told::Booked { is_replayed } => {
                    let waited = failed_at.map(|failed_at| failed_at.elapsed());
                    self.ledger.count_wait(waited.unwrap_or_default());
                    return Some(is_replayed);
                }
                Told::Refused => return None,
                Told::Nothing(_) if self.ledger.is_stuck() => return None,
                Told::Nothing(asked) => {
                    failed_at.get_or_insert_with(Instant::now);
                    self.ledger.count_retry();
                    pause = asked.unwrap_or(2 * pause).min(MOST_PAUSE);
                    sleep(pause + self.chance.milliseconds(0..20)).await;
                }
            }
        }
        self.ledger.report(Breach::Stuck(key.to_owned()));
        None
    }

    async fn try_once(&mut self, service: usize, key: &str) -> Told {
        let Some(response) = self.send(service, key).await else {
            return Told::Nothing(None);
        };
        let status = response.status().as_u16();
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let is_replayed = header("idempotent-replayed").is_some();
        let pause = header("retry-after").and_then(|seconds| seconds.parse().ok());
        let location = header("location");
        // The service may have died while it answered.
        let Ok(body) = response.bytes().await else {
            return Told::Nothing(None);
        };
        let answer = Answer {
            status,
            location,
            body,
        };
        match status {
            201 => {
                self.ledger.acknowledge(key, answer, is_replayed);
                Told::Booked { is_replayed }
            }
            409 | 500.. => Told::Nothing(pause.map(Duration::from_secs)),
            _ => {
                self.ledger.report(Breach::Refused(key.to_owned(), answer));
                Told::Refused
            }
        }
    }

    /// No response if the service is not there, or dies meanwhile.
    async fn send(&mut self, service: usize, key: &str) -> Option<Response> {
        let booking = json!({
            "service_id": "s1", "customer_name": key, "date": "2026-12-01", "time": "10:00",
        });
        let url = format!("http://{}/bookings", self.world.services[service].address);
        let patience = PATIENCE[self.chance.below(2)];
        let request = self.http.post(url).timeout(patience);
        let mut request = request.header("idempotency-key", key);
        // Many handlers are to be in the middle when the service dies.
        if self.chance.one_in(4) {
            let delay = self.chance.milliseconds(1..300).as_millis();
            request = request.header("x-fault-delay-ms", delay.to_string());
        }
        request.json(&booking).send().await.ok()
    }
}
