//! The state that handlers share.

use std::sync::Arc;

use idempotency::Idempotency;

use crate::{
    database::Bookings, keys::UnderWay, probe::Probe, supervised::Supervised, tokens::Tokens,
};

/// The state of every route.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) bookings: Arc<dyn Bookings>,
    pub(crate) idempotency: Idempotency,
    /// Whether a booking's transaction carries its key.
    pub(crate) transactional: bool,
    /// The tokens, if requests to bookings need one.
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) fault_injection: bool,
    /// The supervisor that restarts this process after a crash, if there is one.
    pub(crate) supervised: Option<Arc<Supervised>>,
    /// Whether bookings survive a crash of the process.
    pub(crate) bookings_survive: bool,
    /// Whether keys survive it.
    pub(crate) keys_survive: bool,
    pub(crate) probe: Probe,
    /// Changes of keys by operators.
    pub(crate) changes: UnderWay,
}
