//! The contract of a store as tests, for stores whose clock is a server's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Claim, Fenced, Fingerprint, Hold, Phase, Record, RecordId, Resolution, Store, StoreError,
    Subscription, Token,
};

/// A store of its own, and a way to let time pass for it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) advance: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Opened {
    /// This store, for which time passes when `set_back` moves all times that the server keeps for it back by as
    /// much.
    ///
    /// What the store then says is what a server would say whose clock has gone on, but for the times themselves:
    /// they are moved forward again here.
    pub(crate) fn new(
        store: impl Store,
        set_back: impl Fn(Duration) + Send + Sync + 'static,
    ) -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let store = Ahead {
            store,
            by: Arc::clone(&ahead),
        };
        Self {
            store: Arc::new(store),
            advance: Box::new(move |time| {
                set_back(time);
                let time = u64::try_from(time.as_micros()).expect("a short time");
                ahead.fetch_add(time, Ordering::SeqCst);
            }),
        }
    }
}

/// A store on a clock that is ahead of its server's, by so many microseconds.
#[derive(Debug)]
struct Ahead<S> {
    store: S,
    by: Arc<AtomicU64>,
}

impl<S> Ahead<S> {
    fn time(&self, time: SystemTime) -> SystemTime {
        time + Duration::from_micros(self.by.load(Ordering::SeqCst))
    }

    fn record(&self, mut record: Record) -> Record {
        record.expires_at = self.time(record.expires_at);
        if let Phase::InFlight { lease_until } = &mut record.phase {
            *lease_until = self.time(*lease_until);
        }
        record
    }
}

#[async_trait]
impl<S: Store> Store for Ahead<S> {
    async fn claim(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<Claim, StoreError> {
        let mut claim = self.store.claim(hold, fingerprint).await?;
        if let Claim::Completed { expires_at, .. } = &mut claim {
            *expires_at = self.time(*expires_at);
        }
        Ok(claim)
    }

    async fn renew(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        self.store.renew(hold).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<Fenced<SystemTime>, StoreError> {
        Ok(match self.store.complete(hold, outcome).await? {
            Fenced::Done(expires_at) => Fenced::Done(self.time(expires_at)),
            Fenced::Lost => Fenced::Lost,
        })
    }

    async fn release(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        self.store.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.store.inspect(id).await?;
        Ok(found.map(|record| self.record(record)))
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let listed = self.store.list(after, limit).await?;
        Ok(listed
            .into_iter()
            .map(|record| self.record(record))
            .collect())
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<Fenced<()>, StoreError> {
        self.store.resolve(id, seen, resolution).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.purge_expired(limit).await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.store.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.store.outcome_limit()
    }
}

/// A test for each function of the contract, on stores that this function opens: `async fn() -> Option<Opened>`, and
/// none where the server is not installed.
macro_rules! the_store_keeps_the_contract {
    ($open:path) => {
        use idempotency::conformance;

        // behaviour 4, 76
        // race 1
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_a_new_key() {
            let Some(opened) = $open().await else { return };
            conformance::claims::one_of_many_wins_a_new_key(&opened.store).await;
        }

        // behaviour 4, 76
        // race 1
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_a_lapsed_hold() {
            let Some(opened) = $open().await else { return };
            conformance::claims::one_of_many_wins_a_lapsed_hold(&opened.store, &*opened.advance)
                .await;
        }

        // behaviour 4, 110
        // race 1, 19
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_an_expired_record() {
            let Some(opened) = $open().await else { return };
            conformance::claims::one_of_many_wins_an_expired_record(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // behaviour 77
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn different_keys_are_all_won() {
            let Some(opened) = $open().await else { return };
            conformance::claims::different_keys_are_all_won(&opened.store).await;
        }

        // behaviour 4
        // race 4
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn a_key_has_one_owner_at_a_time() {
            let Some(opened) = $open().await else { return };
            conformance::claims::a_key_has_one_owner_at_a_time(&opened.store).await;
        }

        // behaviour 3
        // race 2, 11
        #[tokio::test]
        async fn a_living_hold_turns_everybody_away() {
            let Some(opened) = $open().await else { return };
            conformance::claims::a_living_hold_turns_everybody_away(&opened.store).await;
        }

        // behaviour 3
        // race 12
        #[tokio::test]
        async fn a_lapsed_hold_goes_to_the_same_request_only() {
            let Some(opened) = $open().await else { return };
            conformance::claims::a_lapsed_hold_goes_to_the_same_request_only(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // race 5
        #[tokio::test]
        async fn a_claim_recognises_its_own_token() {
            let Some(opened) = $open().await else { return };
            conformance::claims::a_claim_recognises_its_own_token(&opened.store, &*opened.advance)
                .await;
        }

        // behaviour 3
        // race 3
        #[tokio::test]
        async fn a_completed_record_answers_every_claim() {
            let Some(opened) = $open().await else { return };
            conformance::claims::a_completed_record_answers_every_claim(&opened.store).await;
        }

        // behaviour 33, 145
        // race 48
        #[tokio::test]
        async fn ids_are_compared_byte_by_byte() {
            let Some(opened) = $open().await else { return };
            conformance::claims::ids_are_compared_byte_by_byte(&opened.store).await;
        }

        // behaviour 129
        // race 6
        #[tokio::test]
        async fn a_stale_owner_changes_nothing() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::a_stale_owner_changes_nothing(&opened.store, &*opened.advance)
                .await;
        }

        // race 7
        #[tokio::test]
        async fn an_absent_record_has_no_owner() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::an_absent_record_has_no_owner(&opened.store).await;
        }

        // race 7
        #[tokio::test]
        async fn a_dead_token_fits_no_later_record() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::a_dead_token_fits_no_later_record(&opened.store).await;
        }

        #[tokio::test]
        async fn a_late_owner_may_end_what_nobody_took() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::a_late_owner_may_end_what_nobody_took(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // behaviour 129
        // race 6
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn either_the_owner_or_its_successor_wins() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::either_the_owner_or_its_successor_wins(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // race 5
        #[tokio::test]
        async fn a_repeated_completion_changes_nothing() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::a_repeated_completion_changes_nothing(&opened.store).await;
        }

        // race 20
        #[tokio::test]
        async fn a_completed_record_cannot_be_renewed_or_released() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::a_completed_record_cannot_be_renewed_or_released(&opened.store)
                .await;
        }

        #[tokio::test]
        async fn a_release_frees_the_key() {
            let Some(opened) = $open().await else { return };
            conformance::fencing::a_release_frees_the_key(&opened.store).await;
        }

        // race 2
        #[tokio::test]
        async fn renewing_moves_the_lease() {
            let Some(opened) = $open().await else { return };
            conformance::time::renewing_moves_the_lease(&opened.store, &*opened.advance).await;
        }

        // behaviour 109, 112
        #[tokio::test]
        async fn the_ttl_counts_from_completion() {
            let Some(opened) = $open().await else { return };
            conformance::time::the_ttl_counts_from_completion(&opened.store, &*opened.advance)
                .await;
        }

        // behaviour 109, 113
        // race 20
        #[tokio::test]
        async fn a_replay_does_not_extend_the_ttl() {
            let Some(opened) = $open().await else { return };
            conformance::time::a_replay_does_not_extend_the_ttl(&opened.store, &*opened.advance)
                .await;
        }

        // behaviour 110
        // race 20
        #[tokio::test]
        async fn an_expired_record_is_absent_before_it_is_swept() {
            let Some(opened) = $open().await else { return };
            conformance::time::an_expired_record_is_absent_before_it_is_swept(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // behaviour 113
        #[tokio::test]
        async fn an_abandoned_hold_is_forgotten_a_ttl_after_its_lease() {
            let Some(opened) = $open().await else { return };
            conformance::time::an_abandoned_hold_is_forgotten_a_ttl_after_its_lease(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // race 34, 35
        #[tokio::test]
        async fn outcomes_come_back_byte_for_byte() {
            let Some(opened) = $open().await else { return };
            conformance::operators::outcomes_come_back_byte_for_byte(&opened.store).await;
        }

        // behaviour 97
        #[tokio::test]
        async fn an_outcome_above_the_limit_is_refused() {
            let Some(opened) = $open().await else { return };
            conformance::operators::an_outcome_above_the_limit_is_refused(&opened.store).await;
        }

        #[tokio::test]
        async fn inspection_shows_the_whole_record() {
            let Some(opened) = $open().await else { return };
            conformance::operators::inspection_shows_the_whole_record(&opened.store).await;
        }

        #[tokio::test]
        async fn a_list_pages_in_the_order_of_ids() {
            let Some(opened) = $open().await else { return };
            conformance::operators::a_list_pages_in_the_order_of_ids(&opened.store).await;
        }

        #[tokio::test]
        async fn a_resolution_ends_the_hold_that_was_seen() {
            let Some(opened) = $open().await else { return };
            conformance::operators::a_resolution_ends_the_hold_that_was_seen(&opened.store).await;
        }

        #[tokio::test]
        async fn a_resolution_shuts_the_old_owner_out() {
            let Some(opened) = $open().await else { return };
            conformance::operators::a_resolution_shuts_the_old_owner_out(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // behaviour 117
        // race 17
        #[tokio::test]
        async fn a_sweep_takes_expired_records_only() {
            let Some(opened) = $open().await else { return };
            conformance::operators::a_sweep_takes_expired_records_only(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // behaviour 110, 117
        // race 17, 19
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn a_sweep_takes_no_fresh_claim_away() {
            let Some(opened) = $open().await else { return };
            conformance::operators::a_sweep_takes_no_fresh_claim_away(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        #[tokio::test]
        async fn a_waiter_hears_of_the_end() {
            let Some(opened) = $open().await else { return };
            conformance::waiting::a_waiter_hears_of_the_end(&opened.store).await;
        }

        #[tokio::test]
        async fn an_end_in_this_process_wakes_at_once() {
            let Some(opened) = $open().await else { return };
            conformance::waiting::an_end_in_this_process_wakes_at_once(&opened.store).await;
        }
    };
}

pub(crate) use the_store_keeps_the_contract;
