//! The store as a service sees it: behind the simulated network.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Polling, Record, RecordId,
        Resolution, StoreError, Subscription, Token, Wakeups,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use turmoil::net::TcpStream;

use crate::{faults::STORE, mail::Mail};

/// Where the store listens.
pub(crate) const PORT: u16 = 6379;

/// How long one sending of a call may take. Each call is sent twice at most.
const PATIENCE: Duration = Duration::from_millis(1500);

#[derive(Clone, Debug)]
pub(crate) struct RemoteStore {
    pub(crate) mail: Mail,
    pub(crate) wakeups: Wakeups,
}

impl RemoteStore {
    pub(crate) async fn ask<T, F>(
        &self,
        ask: impl Fn(Arc<dyn Store>) -> F + Send + Sync + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let letter = self.mail.write(ask);
        let mut was_sent = false;
        for _ in 0..2 {
            if let Ok(Ok(reply)) = timeout(PATIENCE, send(letter, &mut was_sent)).await {
                return self.mail.read(reply);
            }
        }
        Err(if was_sent {
            StoreError::unavailable("no reply")
        } else {
            StoreError::unreached("no connection")
        })
    }
}

async fn send(letter: u64, was_sent: &mut bool) -> io::Result<u64> {
    let mut stream = TcpStream::connect((STORE, PORT)).await?;
    *was_sent = true;
    stream.write_u64(letter).await?;
    stream.read_u64().await
}

#[async_trait]
impl Store for RemoteStore {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let (hold, fingerprint) = (request.hold.clone(), *request.fingerprint);
        let on_lost = request.on_lost;
        self.ask(move |store| {
            let hold = hold.clone();
            async move {
                let request = ClaimRequest::new(&hold, &fingerprint, on_lost);
                store.claim(request).await
            }
        })
        .await
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let (hold, fingerprint) = (hold.clone(), *fingerprint);
        self.ask(move |store| {
            let hold = hold.clone();
            async move { store.withdraw(&hold, &fingerprint).await }
        })
        .await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let hold = hold.clone();
        self.ask(move |store| {
            let hold = hold.clone();
            async move { store.renew(&hold).await }
        })
        .await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let hold = hold.clone();
        self.ask(move |store| {
            let (hold, progress) = (hold.clone(), progress.clone());
            async move { store.checkpoint(&hold, progress).await }
        })
        .await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let hold = hold.clone();
        self.ask(move |store| {
            let (hold, progress) = (hold.clone(), progress.clone());
            async move { store.suspend(&hold, progress).await }
        })
        .await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let hold = hold.clone();
        self.ask(move |store| {
            let (hold, outcome) = (hold.clone(), outcome.clone());
            async move { store.complete(&hold, outcome).await }
        })
        .await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let hold = hold.clone();
        self.ask(move |store| {
            let hold = hold.clone();
            async move { store.release(&hold).await }
        })
        .await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let id = *id;
        self.ask(move |store| async move { store.inspect(&id).await })
            .await
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let request = request.clone();
        self.ask(move |store| {
            let request = request.clone();
            async move { store.list(&request).await }
        })
        .await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let (id, seen) = (*id, *seen);
        self.ask(move |store| {
            let resolution = resolution.clone();
            async move { store.resolve(&id, &seen, resolution).await }
        })
        .await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.ask(move |store| async move { store.purge_expired(limit).await })
            .await
    }

    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        self.ask(move |store| async move { store.live_records().await })
            .await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.wakeups
            .subscribe(id, Polling::every(Duration::from_secs(1)))
    }

    fn outcome_limit(&self) -> usize {
        1 << 20
    }
}
