//! What a store learns of keys and scopes: digests, keyed with the secret.

use std::sync::Arc;

use super::Idempotency;
use crate::{
    IdempotencyKey, Label, Scope,
    fingerprint::digest,
    record::{RecordId, ScopeId},
};

impl Idempotency {
    /// The id under which the store keeps this key.
    #[must_use]
    pub fn record_id(&self, scope: &Scope, key: &IdempotencyKey) -> RecordId {
        self.record_id_keyed(&self.0.secret, scope, key)
    }

    pub(super) fn record_id_keyed(
        &self,
        secret: &[u8],
        scope: &Scope,
        key: &IdempotencyKey,
    ) -> RecordId {
        let (kind, name) = scope.parts();
        let key = key.expose().as_bytes();
        let namespace = self.0.namespace.as_bytes();
        RecordId::from_bytes(digest([
            b"record 1".as_slice(),
            secret,
            namespace,
            kind,
            name,
            key,
        ]))
    }

    /// The id by which the store counts this scope's records.
    #[must_use]
    pub fn scope_id(&self, scope: &Scope) -> ScopeId {
        let (kind, name) = scope.parts();
        let namespace = self.0.namespace.as_bytes();
        let digest = digest([b"scope 1".as_slice(), &self.0.secret, namespace, kind, name]);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        ScopeId::from_bytes(id)
    }

    /// The form of this label in records: its text, or a digest of it.
    #[must_use]
    pub fn label_text(&self, label: &Label) -> Arc<str> {
        if !label.is_digest {
            return Arc::clone(&label.text);
        }
        let text = label.text.as_bytes();
        let namespace = self.0.namespace.as_bytes();
        let digest = digest([b"label 1".as_slice(), &self.0.secret, namespace, text]);
        RecordId::from_bytes(digest).to_string().into()
    }
}
