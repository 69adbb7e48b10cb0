//! The contract's functions, listed once for [`all`](super::all) and [`conformance_tests!`](crate::conformance_tests).

/// Makes a test of each function of the [contract](crate::conformance). The argument is a function or closure that
/// opens a store: `async` and without arguments, it returns a [`TestStore`](crate::conformance::TestStore), or an
/// `Option` of one. If it returns `None`, the test is skipped and reports that.
///
/// ```
/// # use idempotency::{Clock, MemoryStore, conformance::TestStore};
/// # struct TestServer;
/// # impl TestServer {
/// #     async fn store() -> Option<TestStore> { None }
/// # }
/// idempotency::conformance_tests!(async || TestServer::store().await);
/// ```
///
/// The tests are `#[tokio::test]`, so tokio must be a dependency with `macros` and `rt-multi-thread`. They have the
/// names of the functions, in the module that calls the macro; use one module for each store.
///
/// Two parts of the contract do not apply to every store, and are requested by name:
///
/// - `conformance_tests!(shares: open)`, for a store with a limit of [`LIMIT_BYTES`](crate::conformance::shares::LIMIT_BYTES);
/// - `conformance_tests!(wakeups: open)`, for a store that wakes waiters at once when a hold ends in their own process,
///   as [`Wakeups`](crate::store::Wakeups) does.
#[macro_export]
macro_rules! conformance_tests {
    (shares: $open:expr) => {
        $crate::__contract!(shares: test_each, $open);
    };
    (wakeups: $open:expr) => {
        $crate::__contract!(wakeups: test_each, $open);
    };
    ($open:expr) => {
        $crate::__contract!(contract: test_each, $open);
    };
}

/// The list: each function with its module, the fields of a `TestStore` that it needs, and the number of threads on
/// which it races. The comments above an entry name the rows of `tests/ROWS.md` that it proves.
#[doc(hidden)]
#[macro_export]
macro_rules! __contract {
    (contract: $each:ident, $open:expr) => {
        $crate::__contract! {
            @$each $open;

            // proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
            claims::one_of_many_wins_a_new_key(store) on 4 threads;
            // proves: store-says-what-is-wrong
            verified::a_store_that_works_finds_no_problem(store);
            // proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
            claims::one_of_many_wins_a_lapsed_hold(store, advance) on 4 threads;
            // proves: one-atomic-claim, expired-key-is-new, check-then-claim
            // proves: expiry-removes-successor
            claims::one_of_many_wins_an_expired_record(store, advance) on 4 threads;
            // proves: different-keys-all-run
            claims::different_keys_are_all_won(store) on 4 threads;
            // proves: one-atomic-claim, record-vanishes-after-claim
            claims::a_key_has_one_owner_at_a_time(store) on 4 threads;
            // proves: state-decides-response, live-owner-replaced, unconditional-write-over-hold
            claims::a_held_key_refuses_every_claim(store);
            // proves: state-decides-response, mismatch-takes-over
            claims::a_lapsed_hold_goes_to_the_same_request_only(store, advance);
            // proves: own-claim-unrecognised, own-record-as-duplicate
            claims::a_claim_recognises_its_own_token(store, advance);
            // proves: state-decides-response, loser-refused-not-replayed
            claims::a_completed_record_answers_every_claim(store);
            // proves: key-case-counts, store-sees-digests-only, cross-user-replay
            claims::ids_are_compared_byte_by_byte(store);

            // proves: lost-lease-stores-nothing, stale-owner-writes
            fencing::a_stale_owner_changes_nothing(store, advance);
            // proves: generation-counter-restarts
            fencing::an_absent_record_has_no_owner(store);
            // proves: generation-counter-restarts
            fencing::a_dead_token_fits_no_later_record(store);
            fencing::a_late_owner_may_end_what_was_not_taken_over(store, advance);
            // proves: lost-lease-stores-nothing, stale-owner-writes
            fencing::either_the_owner_or_its_successor_wins(store, advance) on 4 threads;
            // proves: own-claim-unrecognised
            fencing::a_repeated_completion_changes_nothing(store);
            // proves: late-renewal-revives-record
            fencing::a_completed_record_cannot_be_renewed_or_released(store);
            fencing::a_release_frees_the_key(store);

            // proves: live-owner-replaced
            time::renewing_moves_the_lease(store, advance);
            // proves: replayed-until-ttl, ttl-counts-from-completion
            time::the_ttl_counts_from_completion(store, advance);
            // proves: replayed-until-ttl, store-clock-decides, late-renewal-revives-record
            time::a_replay_does_not_extend_the_ttl(store, advance);
            // proves: response-sets-own-ttl
            time::a_completion_may_have_another_ttl_than_its_claim(store, advance);
            // proves: expired-key-is-new, late-renewal-revives-record
            time::an_expired_record_is_absent_before_it_is_swept(store, advance);
            // proves: store-clock-decides
            time::an_abandoned_hold_is_forgotten_a_ttl_after_its_lease(store, advance);
            // proves: store-clock-decides, secret-rotation-runs-once
            time::an_abandoned_hold_with_a_ttl_of_zero_is_forgotten_with_its_lease(store, advance);
            // proves: replayed-until-ttl
            time::each_hold_has_its_own_times(store);
            // proves: replayed-until-ttl
            time::a_lease_and_a_ttl_of_zero_are_over_at_once(store);
            // proves: replayed-until-ttl
            time::what_is_kept_without_end_is_kept(store);

            // proves: late-renewal-revives-record
            renewal::a_renewal_undoes_no_completion(store) on 2 threads;
            // proves: late-renewal-revives-record
            renewal::a_renewal_undoes_no_release(store) on 2 threads;
            // proves: late-renewal-revives-record
            renewal::a_renewal_forgets_no_progress(store) on 2 threads;

            // proves: late-claim-holds-key
            spent::a_spent_token_is_remembered_for_its_time(store, advance);
            // proves: late-renewal-revives-record
            spent::a_withdrawal_undoes_no_completion(store) on 2 threads;

            // proves: lost-lease-stores-nothing, stale-owner-writes
            progress::a_take_over_gets_what_was_left(store, advance);
            // proves: lost-lease-stores-nothing, stale-owner-writes
            progress::what_was_kept_is_handed_over(store, advance) on 4 threads;
            // proves: replay-changes-bytes, binary-body-mangled
            progress::progress_comes_back_byte_for_byte(store);
            // proves: own-claim-unrecognised
            progress::a_repeated_checkpoint_changes_nothing(store);
            progress::a_renewal_keeps_the_progress(store, advance);
            progress::the_end_of_a_hold_forgets_its_progress(store);
            // proves: expired-key-is-new
            progress::an_expired_record_leaves_no_progress(store, advance);
            // proves: oversized-response-leaves-tombstone
            progress::progress_above_the_limit_is_refused(store);

            // proves: dead-owner-taken-over, interrupted-run-stuck
            lost::a_refused_claim_changes_nothing(store, advance);
            // proves: dead-owner-taken-over, check-then-claim, interrupted-run-stuck
            lost::of_many_refused_claims_none_wins(store, advance) on 4 threads;
            // proves: dead-owner-taken-over, interrupted-run-stuck
            lost::an_operator_ends_what_is_unknown(store, advance);
            // proves: expired-key-is-new, dead-owner-taken-over, interrupted-run-stuck
            lost::what_is_unknown_is_forgotten_in_the_end(store, advance);

            // proves: replay-changes-bytes, binary-body-mangled
            operators::outcomes_come_back_byte_for_byte(store);
            // proves: oversized-response-leaves-tombstone
            operators::an_outcome_above_the_limit_is_refused(store);
            operators::inspection_shows_the_whole_record(store);
            operators::a_list_pages_in_the_order_of_ids(store);
            operators::a_resolution_ends_the_hold_that_was_seen(store);
            // proves: lost-lease-stores-nothing, stale-owner-writes
            operators::either_the_owner_or_an_operator_ends_a_hold(store) on 2 threads;
            operators::a_resolution_shuts_the_old_owner_out(store, advance);
            // proves: sweep-removes-only-expired, sweep-deletes-wrong-key
            operators::a_sweep_takes_expired_records_only(store, advance);
            // proves: expired-key-is-new, sweep-removes-only-expired, sweep-deletes-wrong-key
            // proves: expiry-removes-successor
            operators::a_sweep_takes_no_fresh_claim_away(store, advance) on 4 threads;

            labels::a_record_tells_its_times(store, advance);
            labels::a_record_keeps_the_labels_of_its_first_claim(store, advance);
            labels::a_list_is_narrowed_by_phase_age_and_label(store, advance);

            corrections::a_completed_outcome_is_replaced(store, advance);
            corrections::a_completed_record_is_forgotten(store);
            // proves: erased-response-never-runs, lost-lease-stores-nothing, stale-owner-writes
            corrections::an_erased_outcome_stays_erased(store, advance);
            // proves: freed-key-runs-again, late-claim-holds-key, generation-counter-restarts
            corrections::a_forgotten_run_takes_nothing_late(store, advance);

            // proves: downstream-key-derived, dropped-future-loses-nothing, late-claim-holds-key
            suspension::a_suspended_run_goes_on_at_once(store);
            // proves: lost-lease-stores-nothing, stale-owner-writes
            suspension::only_the_owner_suspends(store);
            // proves: dropped-future-loses-nothing, stale-owner-writes
            suspension::a_late_checkpoint_changes_nothing(store);

            waiting::a_waiter_hears_of_the_end(store);

            // proves: dropped-future-loses-nothing
            withdrawal::a_withdrawn_claim_leaves_a_new_key(store);
            // proves: dropped-future-loses-nothing, late-claim-holds-key
            withdrawal::a_claim_behind_its_withdrawal_takes_nothing(store);
            // proves: dropped-future-loses-nothing, late-claim-holds-key
            withdrawal::a_claim_behind_its_release_takes_nothing(store);
            // proves: dead-owner-taken-over, interrupted-run-stuck
            withdrawal::an_operators_release_spends_the_token(store);
            // proves: dead-owner-taken-over, dropped-future-loses-nothing
            // proves: dropped-retry-deletes-steps
            withdrawal::a_withdrawn_take_over_leaves_what_it_found(store, advance);
            // proves: dead-owner-taken-over, dropped-future-loses-nothing, late-claim-holds-key
            withdrawal::a_take_over_behind_its_withdrawal_takes_nothing(store);
            // proves: dropped-future-loses-nothing, stale-owner-writes, dropped-retry-deletes-steps
            withdrawal::a_withdrawal_leaves_a_late_owner_alone(store, advance);
            // proves: dropped-future-loses-nothing, dropped-retry-deletes-steps
            // proves: late-claim-holds-key
            withdrawal::a_take_over_of_a_lost_run_behind_its_withdrawal_takes_nothing(store, advance);
            // proves: dropped-future-loses-nothing, dropped-retry-deletes-steps
            // proves: late-claim-holds-key
            withdrawal::a_claim_withdrawn_beside_a_run_takes_nothing_after_it(store, advance);
            // proves: dropped-future-loses-nothing, late-claim-holds-key
            withdrawal::a_key_remembers_several_spent_tokens(store);
            // proves: dropped-future-loses-nothing, stale-owner-writes
            withdrawal::a_withdrawal_leaves_others_alone(store);
            // proves: dead-owner-taken-over, interrupted-run-stuck
            withdrawal::an_operator_ends_what_a_withdrawal_left(store, advance);
            // proves: dropped-future-loses-nothing, late-claim-holds-key
            withdrawal::a_claim_and_its_withdrawal_leave_the_key_free(store) on 4 threads;

            // proves: state-decides-response, own-claim-unrecognised, late-claim-holds-key
            at_once::a_claim_without_a_future_learns_the_same(store);
            // proves: lost-lease-stores-nothing, replay-keeps-body
            at_once::a_completion_without_a_future_stores_the_same(store);

            // proves: rows-and-key-commit-together
            wrapping::what_a_transaction_writes_is_read_back(store);
        }
    };
    (wakeups: $each:ident, $open:expr) => {
        $crate::__contract! {
            @$each $open;

            waiting::an_end_in_this_process_wakes_at_once(store);
        }
    };
    (shares: $each:ident, $open:expr) => {
        $crate::__contract! {
            @$each $open;

            // proves: full-store-forgets-none, scope-share-limited
            shares::a_scope_that_floods_leaves_room_for_others(store);
            // proves: full-store-forgets-none, memory-limit-drops-records
            shares::a_full_store_refuses_every_scope(store);
            // proves: scope-share-limited
            shares::a_refused_key_leaves_nothing(store);
            // proves: full-store-forgets-none, scope-share-limited, memory-limit-drops-records
            shares::old_keys_are_replayed_and_running_ones_complete(store, advance);
            // proves: scope-share-limited
            shares::room_comes_back_as_keys_are_freed(store);
            // proves: sweep-removes-only-expired, scope-share-limited
            shares::room_comes_back_as_keys_expire(store, advance);
            // proves: scope-share-limited
            shares::what_runs_leave_counts_for_their_scope(store, advance);
            // proves: scope-share-limited
            shares::two_scopes_that_flood_get_as_much(store);
        }
    };

    (@test_each $open:expr; $(
        $module:ident::$name:ident($store:ident $(, $advance:ident)?) $(on $threads:tt threads)?;
    )*) => {$(
        #[tokio::test$((flavor = "multi_thread", worker_threads = $threads))?]
        async fn $name() {
            let test = concat!(module_path!(), "::", stringify!($name));
            if let Some(opened) = $crate::conformance::opened($open, test).await {
                $crate::conformance::$module::$name(&opened.$store $(, &*opened.$advance)?).await;
            }
        }
    )*};
    // Each function by its name, for tests of the suite itself.
    (@list_each $functions:expr; $(
        $module:ident::$name:ident($store:ident $(, $advance:ident)?) $(on $threads:tt threads)?;
    )*) => {$(
        $functions.insert(
            concat!(stringify!($module), "::", stringify!($name)),
            |opened| Box::pin(async move {
                $crate::conformance::$module::$name(&opened.$store $(, &*opened.$advance)?).await;
            }),
        );
    )*};
    (@run_each $open:expr; $(
        $module:ident::$name:ident($store:ident $(, $advance:ident)?) $(on $threads:tt threads)?;
    )*) => {$(
        let opened = $open().await;
        $crate::conformance::$module::$name(&opened.$store $(, &*opened.$advance)?).await;
    )*};
}
