//! What a store learns of keys and scopes: digests, keyed with the secret.

use std::{iter, sync::Arc};

use super::{Idempotency, NamedBy, rotation::OtherSecret};
use crate::{
    IdempotencyKey, Label, Scope,
    fingerprint::digest,
    record::{RecordId, ScopeId},
};

impl Idempotency {
    /// The id under which the store keeps this key. While the secret is changed the key may be under another one:
    /// [`record_ids`](Self::record_ids) has both.
    #[must_use]
    pub fn record_id(&self, scope: &Scope, key: &IdempotencyKey) -> RecordId {
        self.record_id_keyed(&self.0.secret, scope, key)
    }

    /// The ids under which the store may keep this key: one, and while the secret is [changed](crate::guide::security) two,
    /// of which at most one has a run or a response.
    ///
    /// ```
    /// use idempotency::{Idempotency, IdempotencyKey, Scope, operators::KeyChange, store::StoreError};
    ///
    /// /// Erases the response of this key, under whichever secret it is stored.
    /// async fn erase(idempotency: &Idempotency, scope: &Scope, key: &IdempotencyKey) -> Result<KeyChange, StoreError> {
    ///     for id in idempotency.record_ids(scope, key) {
    ///         let change = idempotency.erase(&id).await?;
    ///         if change != KeyChange::Free {
    ///             return Ok(change);
    ///         }
    ///     }
    ///     Ok(KeyChange::Free)
    /// }
    /// ```
    ///
    /// The own one is first.
    #[must_use]
    pub fn record_ids(&self, scope: &Scope, key: &IdempotencyKey) -> Vec<RecordId> {
        let secrets = self.secrets();
        secrets
            .map(|secret| self.record_id_keyed(secret, scope, key))
            .collect()
    }

    /// The own secret, and while it is changed the other one.
    fn secrets(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        let other = self.0.other_secret.as_ref();
        iter::once(self.secret(NamedBy::Own)).chain(other.map(OtherSecret::bytes))
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
        // Made once, because many services have no other scope.
        if scope.is_anonymous() {
            return self.0.anonymous;
        }
        scope_id(&self.0.secret, &self.0.namespace, scope)
    }

    /// The form of this label in records: its text, or a digest of it. While the secret is changed some records may have
    /// another digest: [`label_texts`](Self::label_texts) has both.
    #[must_use]
    pub fn label_text(&self, label: &Label) -> Arc<str> {
        self.label_text_keyed(&self.0.secret, label)
    }

    /// The forms of this label in records: one, and two while the secret is [changed](crate::guide::security) and the label
    /// is a digest.
    ///
    /// ```
    /// use idempotency::{Idempotency, Label, store::{ListRequest, Listed, StoreError}};
    ///
    /// /// The first hundred keys of this customer under each secret.
    /// async fn keys_of(idempotency: &Idempotency, customer: &str) -> Result<Vec<Listed>, StoreError> {
    ///     let mut found = Vec::new();
    ///     for label in idempotency.label_texts(&Label::digest(customer)) {
    ///         let request = ListRequest::new(100).labelled(&label);
    ///         found.extend(idempotency.store().list(&request).await?);
    ///     }
    ///     Ok(found)
    /// }
    /// ```
    ///
    /// The own one is first.
    #[must_use]
    pub fn label_texts(&self, label: &Label) -> Vec<Arc<str>> {
        let secrets = self.secrets();
        let mut texts: Vec<_> = secrets
            .map(|secret| self.label_text_keyed(secret, label))
            .collect();
        texts.dedup();
        texts
    }

    fn label_text_keyed(&self, secret: &[u8], label: &Label) -> Arc<str> {
        if !label.is_digest {
            return Arc::clone(&label.text);
        }
        let text = label.text.as_bytes();
        let namespace = self.0.namespace.as_bytes();
        let digest = digest([b"label 1".as_slice(), secret, namespace, text]);
        RecordId::from_bytes(digest).to_string().into()
    }
}

pub(super) fn scope_id(secret: &[u8], namespace: &str, scope: &Scope) -> ScopeId {
    let (kind, name) = scope.parts();
    let namespace = namespace.as_bytes();
    let digest = digest([b"scope 1".as_slice(), secret, namespace, kind, name]);
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    ScopeId::from_bytes(id)
}
