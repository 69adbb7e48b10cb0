//! How long records live, and what operators and those who wait see of them.

macro_rules! records {
    ($open:path) => {
        // proves: live-owner-replaced
        #[tokio::test]
        async fn renewing_moves_the_lease() {
            let Some(opened) = $open().await else { return };
            conformance::time::renewing_moves_the_lease(&opened.store, &*opened.advance).await;
        }

        // proves: replayed-until-ttl, ttl-counts-from-completion
        #[tokio::test]
        async fn the_ttl_counts_from_completion() {
            let Some(opened) = $open().await else { return };
            conformance::time::the_ttl_counts_from_completion(&opened.store, &*opened.advance)
                .await;
        }

        // proves: replayed-until-ttl, store-clock-decides, late-renewal-revives-record
        #[tokio::test]
        async fn a_replay_does_not_extend_the_ttl() {
            let Some(opened) = $open().await else { return };
            conformance::time::a_replay_does_not_extend_the_ttl(&opened.store, &*opened.advance)
                .await;
        }

        // proves: expired-key-is-new, late-renewal-revives-record
        #[tokio::test]
        async fn an_expired_record_is_absent_before_it_is_swept() {
            let Some(opened) = $open().await else { return };
            conformance::time::an_expired_record_is_absent_before_it_is_swept(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // proves: replayed-until-ttl
        #[tokio::test]
        async fn each_hold_has_its_own_times() {
            let Some(opened) = $open().await else { return };
            conformance::time::each_hold_has_its_own_times(&opened.store).await;
        }

        // proves: replayed-until-ttl
        #[tokio::test]
        async fn a_lease_and_a_ttl_of_zero_are_over_at_once() {
            let Some(opened) = $open().await else { return };
            conformance::time::a_lease_and_a_ttl_of_zero_are_over_at_once(&opened.store).await;
        }

        // proves: late-renewal-revives-record
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_renewal_undoes_no_completion() {
            let Some(opened) = $open().await else { return };
            conformance::renewal::a_renewal_undoes_no_completion(&opened.store).await;
        }

        // proves: late-renewal-revives-record
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_renewal_undoes_no_release() {
            let Some(opened) = $open().await else { return };
            conformance::renewal::a_renewal_undoes_no_release(&opened.store).await;
        }

        // proves: late-renewal-revives-record
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_renewal_forgets_no_progress() {
            let Some(opened) = $open().await else { return };
            conformance::renewal::a_renewal_forgets_no_progress(&opened.store).await;
        }

        // proves: replayed-until-ttl
        #[tokio::test]
        async fn what_is_kept_without_end_is_kept() {
            let Some(opened) = $open().await else { return };
            conformance::time::what_is_kept_without_end_is_kept(&opened.store).await;
        }

        // proves: store-clock-decides
        #[tokio::test]
        async fn an_abandoned_hold_is_forgotten_a_ttl_after_its_lease() {
            let Some(opened) = $open().await else { return };
            conformance::time::an_abandoned_hold_is_forgotten_a_ttl_after_its_lease(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // proves: replay-changes-bytes, binary-body-mangled
        #[tokio::test]
        async fn outcomes_come_back_byte_for_byte() {
            let Some(opened) = $open().await else { return };
            conformance::operators::outcomes_come_back_byte_for_byte(&opened.store).await;
        }

        // proves: oversized-response-leaves-tombstone
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

        // proves: sweep-removes-only-expired, sweep-deletes-wrong-key
        #[tokio::test]
        async fn a_sweep_takes_expired_records_only() {
            let Some(opened) = $open().await else { return };
            conformance::operators::a_sweep_takes_expired_records_only(
                &opened.store,
                &*opened.advance,
            )
            .await;
        }

        // proves: expired-key-is-new, sweep-removes-only-expired, sweep-deletes-wrong-key
        // proves: expiry-removes-successor
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

        // proves: rows-and-key-commit-together
        #[tokio::test]
        async fn what_a_transaction_writes_is_read_back() {
            let Some(opened) = $open().await else { return };
            conformance::wrapping::what_a_transaction_writes_is_read_back(&opened.store).await;
        }
    };
}

pub(crate) use records;
