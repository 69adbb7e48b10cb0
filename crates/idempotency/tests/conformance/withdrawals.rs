//! How claims are taken back.

macro_rules! withdrawals {
    () => {
        // proves: dropped-future-loses-nothing
        #[tokio::test]
        async fn a_withdrawn_claim_leaves_a_new_key() {
            let opened = open();
            conformance::withdrawal::a_withdrawn_claim_leaves_a_new_key(&opened.store).await;
        }

        // proves: dropped-future-loses-nothing, late-claim-holds-key
        #[tokio::test]
        async fn a_claim_behind_its_withdrawal_takes_nothing() {
            let opened = open();
            conformance::withdrawal::a_claim_behind_its_withdrawal_takes_nothing(&opened.store)
                .await;
        }

        // proves: dropped-future-loses-nothing, late-claim-holds-key
        #[tokio::test]
        async fn a_claim_behind_its_release_takes_nothing() {
            let opened = open();
            conformance::withdrawal::a_claim_behind_its_release_takes_nothing(&opened.store).await;
        }

        // proves: dead-owner-taken-over, interrupted-run-stuck
        #[tokio::test]
        async fn an_operators_release_spends_the_token() {
            let opened = open();
            conformance::withdrawal::an_operators_release_spends_the_token(&opened.store).await;
        }

        // proves: dead-owner-taken-over, dropped-future-loses-nothing, dropped-retry-deletes-steps
        #[tokio::test]
        async fn a_withdrawn_take_over_leaves_what_it_found() {
            let opened = open();
            conformance::withdrawal::a_withdrawn_take_over_leaves_what_it_found(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: dead-owner-taken-over, dropped-future-loses-nothing, late-claim-holds-key
        #[tokio::test]
        async fn a_take_over_behind_its_withdrawal_takes_nothing() {
            let opened = open();
            conformance::withdrawal::a_take_over_behind_its_withdrawal_takes_nothing(&opened.store)
                .await;
        }

        // proves: dropped-future-loses-nothing, stale-owner-writes
        #[tokio::test]
        async fn a_withdrawal_leaves_others_alone() {
            let opened = open();
            conformance::withdrawal::a_withdrawal_leaves_others_alone(&opened.store).await;
        }

        // proves: dead-owner-taken-over, interrupted-run-stuck
        #[tokio::test]
        async fn an_operator_ends_what_a_withdrawal_left() {
            let opened = open();
            conformance::withdrawal::an_operator_ends_what_a_withdrawal_left(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: dropped-future-loses-nothing, late-claim-holds-key
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn a_claim_and_its_withdrawal_leave_the_key_free() {
            let opened = open();
            conformance::withdrawal::a_claim_and_its_withdrawal_leave_the_key_free(&opened.store)
                .await;
        }

        // proves: dropped-future-loses-nothing, stale-owner-writes, dropped-retry-deletes-steps
        #[tokio::test]
        async fn a_withdrawal_leaves_a_late_owner_alone() {
            let opened = open();
            conformance::withdrawal::a_withdrawal_leaves_a_late_owner_alone(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: dropped-future-loses-nothing, late-claim-holds-key
        #[tokio::test]
        async fn a_key_remembers_several_spent_tokens() {
            let opened = open();
            conformance::withdrawal::a_key_remembers_several_spent_tokens(&opened.store).await;
        }

        // proves: dropped-future-loses-nothing, dropped-retry-deletes-steps, late-claim-holds-key
        #[tokio::test]
        async fn a_take_over_of_a_lost_run_behind_its_withdrawal_takes_nothing() {
            let opened = open();
            conformance::withdrawal::a_take_over_of_a_lost_run_behind_its_withdrawal_takes_nothing(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: dropped-future-loses-nothing, dropped-retry-deletes-steps, late-claim-holds-key
        #[tokio::test]
        async fn a_claim_withdrawn_beside_a_run_takes_nothing_after_it() {
            let opened = open();
            conformance::withdrawal::a_claim_withdrawn_beside_a_run_takes_nothing_after_it(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: downstream-key-derived, dropped-future-loses-nothing, late-claim-holds-key
        #[tokio::test]
        async fn a_suspended_run_goes_on_at_once() {
            let opened = open();
            conformance::suspension::a_suspended_run_goes_on_at_once(&opened.store).await;
        }

        // proves: lost-lease-stores-nothing, stale-owner-writes
        #[tokio::test]
        async fn only_the_owner_suspends() {
            let opened = open();
            conformance::suspension::only_the_owner_suspends(&opened.store).await;
        }

        // proves: dropped-future-loses-nothing, stale-owner-writes
        #[tokio::test]
        async fn a_late_checkpoint_changes_nothing() {
            let opened = open();
            conformance::suspension::a_late_checkpoint_changes_nothing(&opened.store).await;
        }
    };
}

pub(crate) use withdrawals;
