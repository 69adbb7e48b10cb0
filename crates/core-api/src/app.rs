//! What handlers share.

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
    /// The tokens that requests to bookings need, if they need any.
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) fault_injection: bool,
    /// What starts this process again after a crash, if anything does.
    pub(crate) supervised: Option<Arc<Supervised>>,
    /// Whether bookings outlive the process.
    pub(crate) bookings_survive: bool,
    /// Whether keys do.
    pub(crate) keys_survive: bool,
    pub(crate) probe: Probe,
    /// Changes of keys by operators.
    pub(crate) changes: UnderWay,
}
