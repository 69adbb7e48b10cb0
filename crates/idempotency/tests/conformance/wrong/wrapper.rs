//! A wrapper that changes outcomes, with at most one fault.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, MemoryStore, Store,
    conformance::TestStore,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Phase, Record, RecordId,
        Resolution, StoreError, Token,
    },
};

use super::{entries::Entries, fault::Fault};
use crate::delegate::{Delegate, Hooks};

/// Before each outcome that the wrapper stores.
const MARK: &[u8] = b"sixteen bytes...";

#[derive(Debug)]
pub(super) struct Marking {
    inner: Arc<dyn Store>,
    fault: Option<Fault>,
}

impl Marking {
    pub(super) fn open(fault: Option<Fault>) -> TestStore {
        let clock = Clock::manual();
        let inner: Arc<dyn Store> = match fault {
            // It has steps without a future.
            Some(Fault::PassesStepsWithoutAFutureOn | Fault::TakesStepsAndReturnsNothing) => {
                Arc::new(MemoryStore::new().with_clock(clock.clone()))
            }
            _ => Arc::new(Entries::new(None, clock.clone())),
        };
        let store = Delegate(Self { inner, fault });
        TestStore::new(store, move |time| clock.advance(time))
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn mark<'a>(&self, token: &'a Token) -> &'a [u8] {
        match self.fault {
            Some(Fault::EncodesWithTheToken) => token.as_bytes(),
            _ => MARK,
        }
    }

    fn without_a_future<T>(&self, step: impl FnOnce(&dyn Store) -> Option<T>) -> Option<T> {
        match self.fault {
            Some(Fault::PassesStepsWithoutAFutureOn) => step(&self.inner),
            Some(Fault::TakesStepsAndReturnsNothing) => {
                step(&self.inner);
                None
            }
            _ => None,
        }
    }

    /// Progress passes as it is, but no more of it than the wrapper's limit.
    fn check_length(&self, progress: &Bytes) -> Result<(), StoreError> {
        match progress.len() > self.outcome_limit() {
            true => Err(StoreError::too_large("longer than the limit")),
            false => Ok(()),
        }
    }

    fn decoded(&self, mut record: Record) -> Result<Record, StoreError> {
        if let Phase::Completed { outcome } = &mut record.phase {
            *outcome = decode(self.mark(&record.token), outcome)?;
        }
        Ok(record)
    }
}

fn encode(mark: &[u8], outcome: &[u8]) -> Bytes {
    [mark, outcome].concat().into()
}

fn decode(mark: &[u8], outcome: &[u8]) -> Result<Bytes, StoreError> {
    let decoded = outcome.strip_prefix(mark).map(Bytes::copy_from_slice);
    decoded.ok_or_else(|| StoreError::unreadable("no mark"))
}

#[async_trait]
impl Hooks for Marking {
    fn store(&self) -> &dyn Store {
        &self.inner
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        Some(&self.inner)
    }

    fn encode_outcome(&self, _: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        Ok(match self.fault {
            Some(Fault::EncodesNoTransactions) => outcome,
            _ => encode(MARK, &outcome),
        })
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        match self.inner.claim(request).await? {
            Claim::Completed {
                fingerprint,
                outcome,
                expires_at,
                ..
            } if !self.has(Fault::ReplaysEncodedOutcomes) => {
                let outcome = decode(self.mark(&request.hold.token), &outcome)?;
                Ok(Claim::completed(fingerprint, outcome, expires_at))
            }
            other => Ok(other),
        }
    }

    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        self.without_a_future(|inner| inner.claim_now(request))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.check_length(&progress)?;
        self.inner.checkpoint(hold, progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.check_length(&progress)?;
        self.inner.suspend(hold, progress).await
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<IfOwner<SystemTime>, StoreError> {
        let outcome = encode(self.mark(&hold.token), &o);
        self.inner.complete(hold, outcome).await
    }

    fn complete_now(&self, h: &Hold, o: &Bytes) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        self.without_a_future(|inner| inner.complete_now(h, o))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.inner.inspect(id).await?;
        match self.fault {
            Some(Fault::InspectsEncodedOutcomes) => Ok(found),
            _ => found.map(|record| self.decoded(record)).transpose(),
        }
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.inner.list(request).await?;
        if !self.has(Fault::ListsEncodedOutcomes) {
            for entry in &mut listed {
                if let Ok(record) = &entry.record {
                    entry.record = self.decoded(record.clone());
                }
            }
        }
        Ok(listed)
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let encode = |outcome: Bytes| match self.fault {
            Some(Fault::EncodesNoResolutions) => outcome,
            _ => encode(MARK, &outcome),
        };
        let resolution = match resolution {
            Resolution::Complete { outcome, ttl } => Resolution::Complete {
                outcome: encode(outcome),
                ttl,
            },
            Resolution::Replace { outcome } => Resolution::Replace {
                outcome: encode(outcome),
            },
            Resolution::Erase { outcome } => Resolution::Erase {
                outcome: encode(outcome),
            },
            other => other,
        };
        self.inner.resolve(id, seen, resolution).await
    }

    fn outcome_limit(&self) -> usize {
        let limit = self.inner.outcome_limit();
        match self.fault {
            Some(Fault::KeepsTheLimitBehindIt) => limit,
            _ => limit - MARK.len(),
        }
    }
}
