//! Idempotency keys as operators see and resolve them, by a command or over HTTP.

mod audit;
mod change;
mod escaped;
mod field;
mod filter;
mod id;
mod purge;
mod under_way;
mod view;

use std::sync::Arc;

use idempotency::{Idempotency, IdempotencyBuilder, Label, Scope, Store};

use crate::secret::{OtherSecret, Secret, Secrets};

pub(crate) use audit::{Asked, Who};
pub(crate) use change::{Change, Outcome, Prepared, change, change_seen};
pub(crate) use escaped::escaped;
pub(crate) use field::key_in;
pub use filter::Age;
pub(crate) use filter::{Filter, Position, WantedPhase};
pub use id::KeyId;
pub(crate) use id::{Found, find, find_named};
pub(crate) use purge::{PURGED_AT_ONCE, purge};
pub(crate) use under_way::UnderWay;
pub(crate) use view::{Shown, ShownResponse, Summary, View, body_of};

/// The engine over this store. The service and the commands have the same one: another namespace or secret names other keys.
pub(crate) fn engine(store: Arc<dyn Store>, secrets: &Secrets) -> IdempotencyBuilder {
    let builder = Idempotency::builder(store).with_namespace("core-api");
    let builder = match &secrets.own {
        Some(secret) => builder.with_secret(secret.as_bytes()),
        None => builder,
    };
    match &secrets.other {
        None => builder,
        Some(OtherSecret::Next(secret)) => builder.with_next_secret(secret.as_bytes()),
        Some(OtherSecret::Previous(secret)) => {
            let secret = secret.as_ref().map(Secret::as_bytes);
            builder.with_previous_secret(secret.unwrap_or_default())
        }
    }
}

/// Whose keys they are. Those of an operator's token are apart: what an operator does to the bookings of others is not replayed
/// to another token of the same subject, nor to the same token once its role is another one.
pub(crate) fn scope(subject: &str, is_operator: bool) -> Scope {
    match is_operator {
        false => Scope::principal(subject),
        // No subject has a space.
        true => Scope::principal(format!("{subject} operator")),
    }
}

/// By which the keys of a subject are found. It is a digest: the store does not reveal whose keys it holds.
pub(crate) fn owner_label(subject: &str) -> Label {
    Label::digest(subject)
}
