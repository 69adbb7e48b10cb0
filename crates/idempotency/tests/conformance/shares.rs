//! How room is shared out where a store has a limit.

macro_rules! shares {
    () => {
        // proves: full-store-forgets-none, scope-share-limited
        #[tokio::test]
        async fn a_scope_that_floods_leaves_room_for_others() {
            let opened = open_limited();
            conformance::shares::a_scope_that_floods_leaves_room_for_others(&opened.store).await;
        }

        // proves: scope-share-limited
        #[tokio::test]
        async fn a_refused_key_leaves_nothing() {
            conformance::shares::a_refused_key_leaves_nothing(&open_limited().store).await;
        }

        // proves: full-store-forgets-none, scope-share-limited, memory-limit-drops-records
        #[tokio::test]
        async fn old_keys_are_replayed_and_running_ones_complete() {
            let opened = open_limited();
            conformance::shares::old_keys_are_replayed_and_running_ones_complete(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: scope-share-limited
        #[tokio::test]
        async fn room_comes_back_as_keys_are_freed() {
            conformance::shares::room_comes_back_as_keys_are_freed(&open_limited().store).await;
        }

        // proves: sweep-removes-only-expired, scope-share-limited
        #[tokio::test]
        async fn room_comes_back_as_keys_expire() {
            let opened = open_limited();
            conformance::shares::room_comes_back_as_keys_expire(&opened.store, &opened.advance())
                .await;
        }

        // proves: scope-share-limited
        #[tokio::test]
        async fn what_runs_leave_counts_for_their_scope() {
            let opened = open_limited();
            conformance::shares::what_runs_leave_counts_for_their_scope(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        // proves: scope-share-limited
        #[tokio::test]
        async fn two_scopes_that_flood_get_as_much() {
            conformance::shares::two_scopes_that_flood_get_as_much(&open_limited().store).await;
        }
    };
}

pub(crate) use shares;
