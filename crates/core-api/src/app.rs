//! What handlers share.

use std::sync::Arc;

use idempotency::Idempotency;

use crate::{database::Bookings, keys::UnderWay, probe::Probe};

/// The state of every route.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) bookings: Arc<dyn Bookings>,
    pub(crate) idempotency: Idempotency,
    /// Whether a booking's transaction carries its key.
    pub(crate) transactional: bool,
    /// Whether requests to bookings need a token.
    pub(crate) needs_tokens: bool,
    pub(crate) fault_injection: bool,
    pub(crate) probe: Probe,
    /// Changes of keys by operators.
    pub(crate) changes: UnderWay,
}
