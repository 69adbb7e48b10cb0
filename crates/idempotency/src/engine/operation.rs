//! What a request asks under its key, in the store's terms.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Idempotency, NamedBy, Replay, decision::Asked, waiting::Waiter};
use crate::{
    Fingerprint, IdempotencyKey, Scope,
    fingerprint::Forms,
    labels::Labels,
    options::{self, EffectiveOptions},
    record::{RecordId, ScopeId, Token},
    store::Hold,
};

/// Which record a request concerns, and what it asks.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) id: RecordId,
    pub(crate) named_by: NamedBy,
    pub(crate) scope: ScopeId,
    pub(crate) labels: Labels,
    pub(crate) asked: Asked,
    pub(crate) waiter: Waiter,
    /// How long a response is replayed that has no ttl of its own.
    pub(crate) ttl: Duration,
    /// The same operation under the other secret, while the secret is being changed.
    pub(crate) other: Option<Box<Operation>>,
}

/// Other facts about a request.
#[derive(Default)]
pub(crate) struct Origin {
    /// The method and the route's template, if they are known.
    pub(crate) labels: Labels,
    /// The number of bytes that it keeps in memory while it waits.
    pub(crate) kept_bytes: usize,
}

impl Idempotency {
    /// The labels of a route: its method, and the template of its path.
    #[cfg(feature = "axum")]
    pub(crate) fn labels_of(&self, method: &str, path: &str) -> Labels {
        self.0.routes.labels(method, path)
    }

    /// The fingerprint of the request in each form.
    pub(crate) fn operation(
        &self,
        options: &EffectiveOptions,
        scope: &Scope,
        key: IdempotencyKey,
        fingerprint: &Fingerprint,
        origin: &Origin,
    ) -> Operation {
        let other = self.0.other_secret.as_ref().map(|_| {
            let (named_by, key) = (NamedBy::Other, key.clone());
            Box::new(self.operation_named(named_by, options, scope, key, fingerprint, origin))
        });
        let mut own = self.operation_named(NamedBy::Own, options, scope, key, fingerprint, origin);
        own.other = other;
        own
    }

    fn operation_named(
        &self,
        named_by: NamedBy,
        options: &EffectiveOptions,
        scope: &Scope,
        key: IdempotencyKey,
        fingerprint: &Fingerprint,
        origin: &Origin,
    ) -> Operation {
        let secret = self.secret(named_by);
        let id = self.record_id_keyed(secret, scope, &key);
        let forms = Forms::new(fingerprint, secret, id.as_bytes(), key.into_text());
        let scope_id = self.scope_id(scope);
        Operation {
            id,
            named_by,
            scope: scope_id,
            labels: match scope.label() {
                Some(label) => origin.labels.with_label(self.label_text(label)),
                None => origin.labels.clone(),
            },
            asked: Asked::new(forms),
            waiter: Waiter {
                scope: scope_id,
                bytes: origin.kept_bytes,
            },
            ttl: options.ttl,
            other: None,
        }
    }
}

impl Operation {
    /// A hold on its record, under a fresh token.
    pub(super) fn hold(&self, options: &EffectiveOptions) -> Hold {
        Hold::new(self.id, Token::random(), options.lease, options.kept())
            .with_scope(self.scope)
            .with_labels(self.labels.clone())
    }

    /// The outcome of an earlier run, whose record ends at this time.
    pub(super) fn replay(&self, outcome: Bytes, ends_at: SystemTime) -> Replay {
        Replay {
            record: self.id,
            outcome,
            expires_at: self.announced(ends_at),
        }
    }

    /// The expiry that clients are told for a record that ends then.
    pub(super) fn announced(&self, ends_at: SystemTime) -> SystemTime {
        let grace = options::grace(self.ttl);
        ends_at.checked_sub(grace).unwrap_or(ends_at)
    }
}
