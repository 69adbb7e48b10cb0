//! What the tests of this workspace share: the servers that they start, the stores on them, faults on the
//! connections, and the log.

#[path = "../crates/core-api/tests/support/process.rs"]
pub mod core_api;
#[path = "../crates/idempotency/tests/support/delegate.rs"]
pub mod delegate;
pub mod faulty;
pub mod log;
pub mod proxy;
pub mod reply;
pub mod servers;
pub mod test_stores;
pub mod wait;
