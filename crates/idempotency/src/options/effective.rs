//! The options in effect for one request or call.

use std::time::Duration;

use super::{
    DEFAULT_LEASE, DEFAULT_TTL, FingerprintFn, Keep, OnDuplicate, Options, RunMode, ScopeFn, grace,
};
use crate::{OnLost, key::KeyFn};

/// [`Options`] completed from the engine's defaults, and then from the library's.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "some concern requests")
)]
pub(crate) struct EffectiveOptions {
    pub(crate) ttl: Duration,
    pub(crate) lease: Duration,
    pub(crate) required: bool,
    pub(crate) mode: RunMode,
    pub(crate) on_duplicate: OnDuplicate,
    pub(crate) on_lost: OnLost,
    pub(crate) keep: Keep,
    pub(crate) scope: Option<ScopeFn>,
    pub(crate) fingerprint: Option<FingerprintFn>,
    pub(crate) key: Option<KeyFn>,
    pub(crate) rebuilds: bool,
}

impl Options {
    /// These options, completed from the engine's defaults field by field.
    pub(crate) fn over(&self, defaults: &Self) -> EffectiveOptions {
        let ttl = self.ttl.or(defaults.ttl).unwrap_or(DEFAULT_TTL);
        let lease = self.lease.or(defaults.lease).unwrap_or(DEFAULT_LEASE);
        let on_duplicate = self.on_duplicate.or(defaults.on_duplicate);
        EffectiveOptions {
            ttl,
            // The two may come from different places, and neither default is meant to make the other one invalid.
            lease: lease.min(ttl),
            required: self.required.or(defaults.required).unwrap_or(false),
            mode: self.mode.or(defaults.mode).unwrap_or(RunMode::Lease),
            on_duplicate: on_duplicate.unwrap_or(OnDuplicate::Conflict),
            on_lost: self
                .on_lost
                .or(defaults.on_lost)
                .unwrap_or(OnLost::TakeOver),
            keep: self.keep.or(defaults.keep).unwrap_or(Keep::Final),
            scope: self.scope.or(defaults.scope),
            fingerprint: self.fingerprint.or(defaults.fingerprint),
            key: self.key.or(defaults.key),
            rebuilds: self.rebuilds,
        }
    }
}

impl EffectiveOptions {
    /// How long a store keeps an outcome.
    pub(crate) fn kept(&self) -> Duration {
        self.ttl + grace(self.ttl)
    }

    /// How long a duplicate waits, if it waits.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.on_duplicate {
            OnDuplicate::Conflict => None,
            OnDuplicate::Wait => Some(Duration::from_secs(10)),
        }
    }
}
