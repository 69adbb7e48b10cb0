//! Faults, each as a change of one place in the library's source. Most are faults that this library or another one had.

use crate::fault::{Fault, Finder};

/// Makes a list of the faults, and of each a test with its name.
macro_rules! faults {
    ($($name:ident { file: $file:literal, find: $find:literal, replace: $replace:literal, found_by: $found_by:expr, })*) => {
        pub(crate) const FAULTS: &[Fault] = &[$(Fault {
            name: stringify!($name),
            file: $file,
            find: $find,
            replace: $replace,
            found_by: $found_by,
        }),*];

        $(
            #[test]
            fn $name() {
                crate::assert_found(stringify!($name));
            }
        )*
    };
}

faults! {
    a_completion_does_not_compare_the_token {
        file: "store/entry/owner.rs",
        find: "        if self.hold_of(&hold.token, now).is_some() {
            self.complete_as(",
        replace: "        if self.run.as_ref().is_some_and(|run| matches!(run.state, State::InFlight { .. })) {
            self.complete_as(",
        found_by: Finder::Model("the_protocol_keeps_its_promises_when_lost_runs_are_taken_over"),
    }
    a_release_does_not_compare_the_token {
        file: "store/entry/owner.rs",
        find: "        if self.hold_of(&hold.token, now).is_none() {
            return Transition::unchanged(IfOwner::NotOwner);
        }
        self.release_token(",
        replace: "        self.release_token(",
        found_by: Finder::Schedules("lost::a_release_whose_reply_is_lost_is_repeated"),
    }
    a_completion_wakes_nobody {
        file: "store/entry/owner.rs",
        find: "            return Transition::ended(IfOwner::Done(self.expires_at()));",
        replace: "            return Transition::changed(IfOwner::Done(self.expires_at()));",
        found_by: Finder::Schedules("one_key::clients_with_one_key_get_the_response_of_one_run"),
    }
    a_release_wakes_nobody {
        file: "store/entry/owner.rs",
        find: "now.after(hold.lease));
        Transition::ended(IfOwner::Done(()))",
        replace: "now.after(hold.lease));
        Transition::changed(IfOwner::Done(()))",
        found_by: Finder::Schedules("failures::a_run_that_fails_leaves_the_key_to_those_who_wait"),
    }
    a_withdrawal_wakes_nobody {
        file: "store/entry/claim.rs",
        find: "                self.release_token(&hold.token, forgotten_at);
                Transition::ended(())",
        replace: "                self.release_token(&hold.token, forgotten_at);
                Transition::changed(())",
        found_by: Finder::Schedules("leaving::a_client_that_leaves_keeps_the_key_from_nobody"),
    }
    the_withdrawal_of_a_takeover_removes_the_record_and_its_steps {
        file: "store/entry/claim.rs",
        find: "            State::InFlight { progress, .. }
                if is_own && run.attempt == 1 && progress.is_empty() =>
            {",
        replace: "            State::InFlight { .. } if is_own => {",
        found_by: Finder::Schedules("leaving::a_client_that_leaves_during_a_take_over_keeps_the_steps"),
    }
    a_takeover_does_not_look_at_the_lease {
        file: "store/entry/claim.rs",
        find: "} if lease_until.has_come(now) && run.fingerprint == *fingerprint => match on_lost {",
        replace: "} if run.fingerprint == *fingerprint => match on_lost {",
        found_by: Finder::Schedules("one_key::clients_with_one_key_get_the_response_of_one_run"),
    }
    a_claim_behind_its_own_withdrawal_takes_the_key {
        file: "store/entry/claim.rs",
        find: "own.is_some_and(|run| run.token == *token) || self.spent.contains(token)",
        replace: "own.is_some_and(|run| run.token == *token)",
        found_by: Finder::Model("the_protocol_keeps_its_promises_when_lost_runs_are_taken_over"),
    }
    a_sweep_removes_the_record_of_a_run {
        file: "store/memory/shard.rs",
        find: "            if slot.entry.has_expired(now) {",
        replace: "            if true {",
        found_by: Finder::Schedules("sweep::a_sweep_leaves_the_record_of_a_run"),
    }
    one_waiter_that_leaves_takes_the_others_with_it {
        file: "store/wakeups.rs",
        find: "            if waiters.get().count == 0 {
                waiters.remove();
            }",
        replace: "            waiters.remove();",
        found_by: Finder::Schedules("failures::a_run_that_fails_leaves_the_key_to_those_who_wait"),
    }
    a_waiter_looks_before_it_subscribes {
        file: "engine/wait.rs",
        find: "        let mut subscription = self.0.store.subscribe(&hold.id);
        loop {
            hold.token = Token::random();
            let claimed = self.claim_to_run(&hold, fingerprint, on_lost).await?;
            if !waits_after(&claimed.claim, fingerprint) {
                return Ok((hold, claimed));
            }",
        replace: "        loop {
            hold.token = Token::random();
            let claimed = self.claim_to_run(&hold, fingerprint, on_lost).await?;
            if !waits_after(&claimed.claim, fingerprint) {
                return Ok((hold, claimed));
            }
            let mut subscription = self.0.store.subscribe(&hold.id);",
        found_by: Finder::Schedules("failures::a_run_that_fails_leaves_the_key_to_those_who_wait"),
    }
    a_claim_that_was_won_is_not_withdrawn_when_its_client_leaves {
        file: "engine/claim.rs",
        find: "        if let Some(claim) = self.claim.take() {
            let guard = ActiveRuns::enter_withdrawal(&claim.runs, &claim.store);
            claim.withdraw(guard, &self.runtime);
        }",
        replace: "        drop(self.claim.take());",
        found_by: Finder::Schedules("lost::a_claim_whose_reply_is_lost_keeps_the_key_from_nobody"),
    }
    a_claim_on_its_way_is_not_withdrawn_when_its_client_leaves {
        file: "engine/claim.rs",
        find: "        withdrawal.runtime.spawn(finishing.in_current_span());",
        replace: "        drop(finishing.in_current_span());",
        found_by: Finder::Schedules("leaving::a_client_that_leaves_keeps_the_key_from_nobody"),
    }
    a_claim_whose_reply_was_lost_is_not_withdrawn {
        file: "engine/claim.rs",
        find: "        Err(error) => error.kind() == StoreErrorKind::Unavailable && error.was_sent(),",
        replace: "        Err(_) => false,",
        found_by: Finder::Schedules("lost::a_claim_whose_reply_is_lost_keeps_the_key_from_nobody"),
    }
    a_run_ends_with_its_client {
        file: "engine/detach_on_drop.rs",
        find: "            self.runtime.spawn(run.map(drop));",
        replace: "            drop(run);",
        found_by: Finder::Schedules("leaving::a_client_that_leaves_during_a_step_does_not_repeat_it"),
    }
    a_run_begins_although_the_reply_to_its_claim_was_later_than_its_lease {
        file: "engine/claimed_run.rs",
        find: "            if !self.hold.is_fresh(sent_at) {",
        replace: "            if false {",
        found_by: Finder::Schedules("lapses::a_claim_whose_reply_is_later_than_its_lease_begins_no_second_run"),
    }
    a_run_that_lost_its_key_sends_its_own_response {
        file: "engine/finish.rs",
        find: "            );
            IfOwner::NotOwner
        }
        Err(_) => {",
        replace: "            );
            executed(None)
        }
        Err(_) => {",
        found_by: Finder::Schedules("lapses::clients_get_one_value_although_a_lease_lapses"),
    }
    a_shutdown_looks_before_it_listens {
        file: "engine/active_runs.rs",
        find: "            let left = self.left.notified();
            if reached(&self.state.lock()) {
                return;
            }
            left.await;",
        replace: "            if reached(&self.state.lock()) {
                return;
            }
            self.left.notified().await;",
        found_by: Finder::Schedules("steps::a_step_that_is_dropped_is_not_repeated"),
    }
    a_duplicate_of_a_transactional_run_does_not_look_again_once_it_has_subscribed {
        file: "engine/transactional.rs",
        find: "        if local_lock.running().is_none() {
            return Ok(());
        }",
        replace: "",
        found_by: Finder::Schedules("local_locks::a_client_that_leaves_a_transactional_run_keeps_the_lock_from_nobody"),
    }
    the_end_of_a_transactional_run_wakes_nobody {
        file: "engine/local_locks.rs",
        find: "        if self.began.is_some() {
            self.keys.wakeups.wake(&self.id);
        }",
        replace: "",
        found_by: Finder::Schedules("local_locks::a_client_that_leaves_a_transactional_run_keeps_the_lock_from_nobody"),
    }
    a_step_that_is_dropped_midway_is_not_kept {
        file: "execution/step.rs",
        find: "        DetachOnDrop::new(step)
            .await
            .unwrap_or_else(|panic| resume_unwind(panic))",
        replace: "        step.await",
        found_by: Finder::Schedules("steps::a_step_that_is_dropped_is_not_repeated"),
    }
    a_run_that_fails_does_not_wait_for_its_steps {
        file: "execution/step.rs",
        find: "        if protection.steps.under_way.load(Ordering::SeqCst) == 0 {
            return self.persist_steps().await;",
        replace: "        if !protection.is_transactional {
            return self.persist_steps().await;",
        found_by: Finder::Schedules("steps::a_step_that_is_dropped_is_not_repeated"),
    }
    two_steps_at_the_same_time_store_over_each_other {
        file: "execution/step.rs",
        find: "        let mut progress = self.progress.lock().await;
        progress.push(name, result);",
        replace: "        let mut progress = self.progress.lock().await.clone();
        progress.push(name, result);",
        found_by: Finder::Schedules("steps::steps_at_the_same_time_are_all_kept"),
    }
    an_unconfirmed_commit_counts_as_undone {
        file: "execution/commit.rs",
        find: "        if !self.is_shared() {
            return Err(CommitError::Unknown(failure));",
        replace: "        if self.is_shared() {
            return Err(CommitError::Failed(failure));",
        found_by: Finder::Schedules("transactions::a_commit_whose_confirmation_is_lost_counts"),
    }
    the_check_of_an_unconfirmed_commit_only_reads {
        file: "engine/commit_status.rs",
        find: "            let claimed = with_store_timeout(
                store,
                store.claim(ClaimRequest::new(&hold, &entry.fingerprint, OnLost::Refuse)),
            )
            .await?;
            if matches!(claimed, Claim::Won { .. }) {",
        replace: "            let found = with_store_timeout(store, store.inspect(&hold.id)).await?;
            if found.is_none() {",
        found_by: Finder::Schedules("http_transactions::a_commit_that_its_handler_drops_midway_counts_or_never_arrives"),
    }
    the_check_of_an_unconfirmed_commit_under_a_lease_only_reads {
        file: "engine/commit_status.rs",
        find: "            if with_store_timeout(store, store.renew(&entry.hold)).await? == IfOwner::Done(()) {",
        replace: "            let found = with_store_timeout(store, store.inspect(&entry.hold.id)).await?;
            if found.is_some_and(|found| matches!(found.phase, crate::record::Phase::InFlight { .. })) {",
        found_by: Finder::Schedules("transactions::a_late_commit_under_a_lease_counts_or_never_arrives"),
    }
    a_run_begins_beside_another_one_that_is_about_to_commit {
        file: "engine/local_locks.rs",
        find: "        if key.running.as_ref().is_some_and(Running::is_live) || key.ended != self.ended {",
        replace: "        if key.ended != self.ended {",
        found_by: Finder::Schedules("transactions::one_of_two_processes_commits"),
    }
    the_failure_of_a_transaction_is_sent_although_an_equal_run_has_committed {
        file: "engine/transactional.rs",
        find: "                Ok(Some(_)) => return IfOwner::NotOwner,",
        replace: "                Ok(Some(_)) => None,",
        found_by: Finder::Schedules("transactions::a_transaction_that_fails_on_an_equal_runs_row_gets_its_value"),
    }
    a_commit_that_its_run_drops_midway_counts_as_none {
        file: "execution/ended.rs",
        find: "            CommitState::Committing { is_shared: true } => return None,",
        replace: "            CommitState::Committing { is_shared: true } => Ended::Open,",
        found_by: Finder::Schedules("transactions::a_commit_that_its_run_drops_midway_counts_or_never_arrives"),
    }
    a_commit_that_its_handler_drops_midway_counts_as_none {
        file: "web/attempt.rs",
        find: "            let ended = execution.resolved().await;",
        replace: "            let ended = Ended::Open;",
        found_by: Finder::Schedules("http_transactions::a_commit_that_its_handler_drops_midway_counts_or_never_arrives"),
    }
    a_piece_of_a_response_that_comes_later_is_missing {
        file: "web/saved_response.rs",
        find: "            Ok(Some(frame)) => unread.add(frame?),",
        replace: "            Ok(Some(_)) => {}",
        found_by: Finder::Schedules("http::all_requests_get_one_response"),
    }
}
