//! What the methods for operators return: the state of a key, its stored response, and what a change came to.
//!
//! The guide for [operators](crate::guide::operators) shows how [`Idempotency::check`](crate::Idempotency::check),
//! [`erase`](crate::Idempotency::erase) and [`free`](crate::Idempotency::free) are used.

pub use crate::engine::Confirmation;
pub use crate::engine::ConfirmationError;
pub use crate::engine::FreeRequest;
pub use crate::engine::KeyChange;
pub use crate::engine::KeyState;
pub use crate::engine::StoredResponse;
