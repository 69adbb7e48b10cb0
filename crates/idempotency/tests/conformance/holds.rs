//! Who gets a key, who keeps it, and what is handed on.

macro_rules! holds {
    () => {
        // proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_a_new_key() {
            conformance::claims::one_of_many_wins_a_new_key(&open().store).await;
        }

        // proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_a_lapsed_hold() {
            let opened = open();
            conformance::claims::one_of_many_wins_a_lapsed_hold(&opened.store, &opened.advance())
                .await;
        }

        // proves: one-atomic-claim, expired-key-is-new, check-then-claim, expiry-removes-successor
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn one_of_many_wins_an_expired_record() {
            let opened = open();
            conformance::claims::one_of_many_wins_an_expired_record(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: different-keys-all-run
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn different_keys_are_all_won() {
            conformance::claims::different_keys_are_all_won(&open().store).await;
        }

        // proves: one-atomic-claim, record-vanishes-after-claim
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn a_key_has_one_owner_at_a_time() {
            conformance::claims::a_key_has_one_owner_at_a_time(&open().store).await;
        }

        // proves: state-decides-response, live-owner-replaced, unconditional-write-over-hold
        #[tokio::test]
        async fn a_living_hold_turns_everybody_away() {
            conformance::claims::a_living_hold_turns_everybody_away(&open().store).await;
        }

        // proves: state-decides-response, mismatch-takes-over
        #[tokio::test]
        async fn a_lapsed_hold_goes_to_the_same_request_only() {
            let opened = open();
            conformance::claims::a_lapsed_hold_goes_to_the_same_request_only(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: own-claim-unrecognised, own-record-as-duplicate
        #[tokio::test]
        async fn a_claim_recognises_its_own_token() {
            let opened = open();
            conformance::claims::a_claim_recognises_its_own_token(&opened.store, &opened.advance())
                .await;
        }

        // proves: state-decides-response, loser-refused-not-replayed
        #[tokio::test]
        async fn a_completed_record_answers_every_claim() {
            conformance::claims::a_completed_record_answers_every_claim(&open().store).await;
        }

        // proves: key-case-counts, store-sees-digests-only, cross-user-replay
        #[tokio::test]
        async fn ids_are_compared_byte_by_byte() {
            conformance::claims::ids_are_compared_byte_by_byte(&open().store).await;
        }

        // proves: lost-lease-stores-nothing, stale-owner-writes
        #[tokio::test]
        async fn a_stale_owner_changes_nothing() {
            let opened = open();
            conformance::fencing::a_stale_owner_changes_nothing(&opened.store, &opened.advance())
                .await;
        }

        // proves: generation-counter-restarts
        #[tokio::test]
        async fn an_absent_record_has_no_owner() {
            conformance::fencing::an_absent_record_has_no_owner(&open().store).await;
        }

        // proves: generation-counter-restarts
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

        // proves: lost-lease-stores-nothing, stale-owner-writes
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn either_the_owner_or_its_successor_wins() {
            let opened = open();
            conformance::fencing::either_the_owner_or_its_successor_wins(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: own-claim-unrecognised
        #[tokio::test]
        async fn a_repeated_completion_changes_nothing() {
            conformance::fencing::a_repeated_completion_changes_nothing(&open().store).await;
        }

        // proves: late-renewal-revives-record
        #[tokio::test]
        async fn a_completed_record_cannot_be_renewed_or_released() {
            conformance::fencing::a_completed_record_cannot_be_renewed_or_released(&open().store)
                .await;
        }

        #[tokio::test]
        async fn a_release_frees_the_key() {
            conformance::fencing::a_release_frees_the_key(&open().store).await;
        }

        // proves: lost-lease-stores-nothing, stale-owner-writes
        #[tokio::test]
        async fn a_take_over_gets_what_was_left() {
            let opened = open();
            conformance::progress::a_take_over_gets_what_was_left(&opened.store, &opened.advance())
                .await;
        }

        // proves: lost-lease-stores-nothing, stale-owner-writes
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn what_was_kept_is_handed_over() {
            let opened = open();
            conformance::progress::what_was_kept_is_handed_over(&opened.store, &opened.advance())
                .await;
        }

        // proves: replay-changes-bytes, binary-body-mangled
        #[tokio::test]
        async fn progress_comes_back_byte_for_byte() {
            conformance::progress::progress_comes_back_byte_for_byte(&open().store).await;
        }

        // proves: own-claim-unrecognised
        #[tokio::test]
        async fn a_repeated_checkpoint_changes_nothing() {
            conformance::progress::a_repeated_checkpoint_changes_nothing(&open().store).await;
        }

        #[tokio::test]
        async fn a_renewal_keeps_the_progress() {
            let opened = open();
            conformance::progress::a_renewal_keeps_the_progress(&opened.store, &opened.advance())
                .await;
        }

        #[tokio::test]
        async fn the_end_of_a_hold_forgets_its_progress() {
            conformance::progress::the_end_of_a_hold_forgets_its_progress(&open().store).await;
        }

        // proves: expired-key-is-new
        #[tokio::test]
        async fn an_expired_record_leaves_no_progress() {
            let opened = open();
            conformance::progress::an_expired_record_leaves_no_progress(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: oversized-response-leaves-tombstone
        #[tokio::test]
        async fn progress_above_the_limit_is_refused() {
            conformance::progress::progress_above_the_limit_is_refused(&open().store).await;
        }

        // proves: dead-owner-taken-over, interrupted-run-stuck
        #[tokio::test]
        async fn a_refused_claim_changes_nothing() {
            let opened = open();
            conformance::lost::a_refused_claim_changes_nothing(&opened.store, &opened.advance())
                .await;
        }

        // proves: dead-owner-taken-over, check-then-claim, interrupted-run-stuck
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn of_many_refused_claims_none_wins() {
            let opened = open();
            conformance::lost::of_many_refused_claims_none_wins(&opened.store, &opened.advance())
                .await;
        }

        // proves: dead-owner-taken-over, interrupted-run-stuck
        #[tokio::test]
        async fn an_operator_ends_what_is_unknown() {
            let opened = open();
            conformance::lost::an_operator_ends_what_is_unknown(&opened.store, &opened.advance())
                .await;
        }

        // proves: expired-key-is-new, dead-owner-taken-over, interrupted-run-stuck
        #[tokio::test]
        async fn what_is_unknown_is_forgotten_in_the_end() {
            let opened = open();
            conformance::lost::what_is_unknown_is_forgotten_in_the_end(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }
    };
}

pub(crate) use holds;
