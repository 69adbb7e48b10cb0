//! The protocol over HTTP, following draft-ietf-httpapi-idempotency-key-header-07: how requests are read and responses
//! are marked, for attributed handlers and for layers alike.

mod attempt;
mod caller;
mod caught;
mod commit;
mod complete;
mod engine_source;
mod exchange;
mod handler;
mod layer;
mod openapi;
mod own_key;
mod passing;
mod policy;
mod principal;
mod problem;
mod read_on;
mod rebuild;
mod refusal;
mod replay_with;
mod request;
mod resolve;
mod saved_response;

pub use engine_source::InExtensions;
pub use engine_source::InState;
pub use handler::Idempotent;
pub use handler::protected;
pub use handler::protected_by;
pub use handler::replaying;
pub use handler::run;
pub use handler::run_into_response;
pub use layer::IdempotencyLayer;
pub use layer::IdempotencyService;
pub use openapi::UnknownOperation;
pub use principal::Direct;
pub use principal::Principal;
pub use principal::Proved;
pub use principal::ProvedBy;
pub use principal::Unproved;
pub use rebuild::ProvedAgain;
pub use rebuild::Rebuilt;
pub use rebuild::rebuild_with_state;
pub use rebuild::rebuild_without_state;
pub use replay_with::ReplayWith;
