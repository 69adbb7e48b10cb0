//! The stores keep the contract: every function of `conformance`, on each of them.

use std::{sync::Arc, time::Duration};

use idempotency::{Clock, MemoryStore, SqliteStore, Store, conformance};
use tempfile::TempDir;

/// A store of its own, the clock that it goes by, and what has to stay until it is gone.
struct Opened {
    store: Arc<dyn Store>,
    clock: Clock,
    _folder: Option<TempDir>,
}

impl Opened {
    fn advance(&self) -> impl Fn(Duration) + Send + Sync {
        let clock = self.clock.clone();
        move |time| clock.advance(time)
    }
}

macro_rules! the_store_keeps_the_contract {
    () => {
        use super::*;

        // behaviour 4, 76
        // race 1
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_a_new_key() {
            conformance::claims::one_of_many_wins_a_new_key(&open().store).await;
        }

        // behaviour 4, 76
        // race 1
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_a_lapsed_hold() {
            let opened = open();
            conformance::claims::one_of_many_wins_a_lapsed_hold(&opened.store, &opened.advance())
                .await;
        }

        // behaviour 4, 110
        // race 1, 19
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_an_expired_record() {
            let opened = open();
            conformance::claims::one_of_many_wins_an_expired_record(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // behaviour 77
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn different_keys_are_all_won() {
            conformance::claims::different_keys_are_all_won(&open().store).await;
        }

        // behaviour 4
        // race 4
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn a_key_has_one_owner_at_a_time() {
            conformance::claims::a_key_has_one_owner_at_a_time(&open().store).await;
        }

        // behaviour 3
        // race 2, 11
        #[tokio::test]
        async fn a_living_hold_turns_everybody_away() {
            conformance::claims::a_living_hold_turns_everybody_away(&open().store).await;
        }

        // behaviour 3
        // race 12
        #[tokio::test]
        async fn a_lapsed_hold_goes_to_the_same_request_only() {
            let opened = open();
            conformance::claims::a_lapsed_hold_goes_to_the_same_request_only(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // race 5
        #[tokio::test]
        async fn a_claim_recognises_its_own_token() {
            let opened = open();
            conformance::claims::a_claim_recognises_its_own_token(&opened.store, &opened.advance())
                .await;
        }

        // behaviour 3
        // race 3
        #[tokio::test]
        async fn a_completed_record_answers_every_claim() {
            conformance::claims::a_completed_record_answers_every_claim(&open().store).await;
        }

        // behaviour 33, 145
        // race 48
        #[tokio::test]
        async fn ids_are_compared_byte_by_byte() {
            conformance::claims::ids_are_compared_byte_by_byte(&open().store).await;
        }

        // behaviour 129
        // race 6
        #[tokio::test]
        async fn a_stale_owner_changes_nothing() {
            let opened = open();
            conformance::fencing::a_stale_owner_changes_nothing(&opened.store, &opened.advance())
                .await;
        }

        // race 7
        #[tokio::test]
        async fn an_absent_record_has_no_owner() {
            conformance::fencing::an_absent_record_has_no_owner(&open().store).await;
        }

        // race 7
        #[tokio::test]
        async fn a_dead_token_fits_no_later_record() {
            conformance::fencing::a_dead_token_fits_no_later_record(&open().store).await;
        }

        #[tokio::test]
        async fn a_late_owner_may_end_what_nobody_took() {
            let opened = open();
            conformance::fencing::a_late_owner_may_end_what_nobody_took(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // behaviour 129
        // race 6
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn either_the_owner_or_its_successor_wins() {
            let opened = open();
            conformance::fencing::either_the_owner_or_its_successor_wins(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // race 5
        #[tokio::test]
        async fn a_repeated_completion_changes_nothing() {
            conformance::fencing::a_repeated_completion_changes_nothing(&open().store).await;
        }

        // race 20
        #[tokio::test]
        async fn a_completed_record_cannot_be_renewed_or_released() {
            conformance::fencing::a_completed_record_cannot_be_renewed_or_released(&open().store)
                .await;
        }

        #[tokio::test]
        async fn a_release_frees_the_key() {
            conformance::fencing::a_release_frees_the_key(&open().store).await;
        }

        // race 2
        #[tokio::test]
        async fn renewing_moves_the_lease() {
            let opened = open();
            conformance::time::renewing_moves_the_lease(&opened.store, &opened.advance()).await;
        }

        // behaviour 109, 112
        #[tokio::test]
        async fn the_ttl_counts_from_completion() {
            let opened = open();
            conformance::time::the_ttl_counts_from_completion(&opened.store, &opened.advance())
                .await;
        }

        // behaviour 109, 113
        // race 20
        #[tokio::test]
        async fn a_replay_does_not_extend_the_ttl() {
            let opened = open();
            conformance::time::a_replay_does_not_extend_the_ttl(&opened.store, &opened.advance())
                .await;
        }

        // behaviour 110
        // race 20
        #[tokio::test]
        async fn an_expired_record_is_absent_before_it_is_swept() {
            let opened = open();
            conformance::time::an_expired_record_is_absent_before_it_is_swept(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // behaviour 113
        #[tokio::test]
        async fn an_abandoned_hold_is_forgotten_a_ttl_after_its_lease() {
            let opened = open();
            conformance::time::an_abandoned_hold_is_forgotten_a_ttl_after_its_lease(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // race 34, 35
        #[tokio::test]
        async fn outcomes_come_back_byte_for_byte() {
            conformance::operators::outcomes_come_back_byte_for_byte(&open().store).await;
        }

        // behaviour 97
        #[tokio::test]
        async fn an_outcome_above_the_limit_is_refused() {
            conformance::operators::an_outcome_above_the_limit_is_refused(&open().store).await;
        }

        #[tokio::test]
        async fn inspection_shows_the_whole_record() {
            conformance::operators::inspection_shows_the_whole_record(&open().store).await;
        }

        #[tokio::test]
        async fn a_list_pages_in_the_order_of_ids() {
            conformance::operators::a_list_pages_in_the_order_of_ids(&open().store).await;
        }

        #[tokio::test]
        async fn a_resolution_ends_the_hold_that_was_seen() {
            conformance::operators::a_resolution_ends_the_hold_that_was_seen(&open().store).await;
        }

        #[tokio::test]
        async fn a_resolution_shuts_the_old_owner_out() {
            let opened = open();
            conformance::operators::a_resolution_shuts_the_old_owner_out(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // behaviour 117
        // race 17
        #[tokio::test]
        async fn a_sweep_takes_expired_records_only() {
            let opened = open();
            conformance::operators::a_sweep_takes_expired_records_only(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // behaviour 110, 117
        // race 17, 19
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn a_sweep_takes_no_fresh_claim_away() {
            let opened = open();
            conformance::operators::a_sweep_takes_no_fresh_claim_away(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        #[tokio::test]
        async fn a_waiter_hears_of_the_end() {
            conformance::waiting::a_waiter_hears_of_the_end(&open().store).await;
        }

        #[tokio::test]
        async fn an_end_in_this_process_wakes_at_once() {
            conformance::waiting::an_end_in_this_process_wakes_at_once(&open().store).await;
        }
    };
}

mod memory {
    the_store_keeps_the_contract!();

    fn open() -> Opened {
        let clock = Clock::manual();
        Opened {
            store: Arc::new(MemoryStore::new().with_clock(clock.clone())),
            clock,
            _folder: None,
        }
    }
}

mod sqlite {
    the_store_keeps_the_contract!();

    fn open() -> Opened {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
        let clock = Clock::manual();
        Opened {
            store: Arc::new(store.with_clock(clock.clone())),
            clock,
            _folder: Some(folder),
        }
    }
}
