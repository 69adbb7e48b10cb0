//! How large a model is, and by which rules it goes.

use idempotency::OnLost;

use crate::rules::{LIBRARY, Rules};

#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub(crate) rules: Rules,
    pub(crate) on_lost: OnLost,
    pub(crate) is_transactional: bool,
    /// How long an outcome is kept, in ticks.
    pub(crate) ttl: u8,
    /// When the clock stops.
    pub(crate) last_tick: u8,
    pub(crate) requests: usize,
    /// How many messages are lost, doubled or late, how many clients leave, and how many runs fail.
    pub(crate) faults: u8,
    pub(crate) crashes: u8,
    pub(crate) renewals: u8,
}

impl Config {
    /// Under a lease: two requests at two processes, and records that outlive the model.
    pub(crate) const SMALL: Self = Self {
        rules: LIBRARY,
        on_lost: OnLost::TakeOver,
        is_transactional: false,
        ttl: 20,
        last_tick: 3,
        requests: 2,
        faults: 2,
        crashes: 1,
        renewals: 1,
    };

    /// More than twice as many worlds.
    pub(crate) fn enlarged(self) -> Self {
        Self {
            last_tick: self.last_tick + 1,
            ..self
        }
    }
}
