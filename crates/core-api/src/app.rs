//! What handlers share.

use std::sync::Arc;

use idempotency::Idempotency;

use crate::{database::Bookings, keys::UnderWay, probe::Probe, tokens::Tokens};

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
    pub(crate) probe: Probe,
    /// Changes of keys by operators.
    pub(crate) changes: UnderWay,
}
