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
pub(crate) use field::{KEY, key_in};
pub use filter::Age;
pub(crate) use filter::{Filter, Position, WantedPhase};
pub use id::KeyId;
pub(crate) use id::{Found, find, find_named};
pub(crate) use purge::{PURGED_AT_ONCE, purge};
pub(crate) use under_way::UnderWay;
pub(crate) use view::{Shown, ShownResponse, Summary, UNREADABLE, View, body_of, date};

/// The engine over this store, the same for the service and the commands: with another namespace or secret the same key has
/// another record.
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

/// The scope of a subject's keys. Keys sent with an operator's token have a scope of their own: a response about the bookings of
/// others is replayed neither to another token of the same subject, nor to the same token after its role has changed.
pub(crate) fn scope(subject: &str, is_operator: bool) -> Scope {
    if is_operator {
        // A subject never contains a space.
        Scope::principal(format!("{subject} operator"))
    } else {
        Scope::principal(subject)
    }
}

/// The label that finds a subject's keys. It is a digest, so that the store does not reveal whose keys it holds.
pub(crate) fn owner_label(subject: &str) -> Label {
    Label::digest(subject)
}
