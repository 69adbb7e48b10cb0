//! Faults, each as a change of one place in the library's source. Most are faults that this library or another one had.

/// One fault.
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    /// Under the library's `src`.
    pub(crate) file: &'static str,
    /// A text that the file has once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
}

pub(crate) const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "a completion does not compare the token",
        file: "store/entry/owner.rs",
        find: "        if self.hold_of(&hold.token, now).is_some() {
            self.complete_as(",
        replace: "        if self.run.as_ref().is_some_and(|run| matches!(run.state, State::InFlight { .. })) {
            self.complete_as(",
    },
    Mutation {
        name: "a release does not compare the token",
        file: "store/entry/owner.rs",
        find: "        if self.hold_of(&hold.token, now).is_none() {
            return Transition::unchanged(IfOwner::NotOwner);
        }
        self.release_token(",
        replace: "        self.release_token(",
    },
    Mutation {
        name: "a completion wakes nobody",
        file: "store/entry/owner.rs",
        find: "            return Transition::ended(IfOwner::Done(self.expires_at()));",
        replace: "            return Transition::changed(IfOwner::Done(self.expires_at()));",
    },
    Mutation {
        name: "a release wakes nobody",
        file: "store/entry/owner.rs",
        find: "now.after(hold.lease));
        Transition::ended(IfOwner::Done(()))",
        replace: "now.after(hold.lease));
        Transition::changed(IfOwner::Done(()))",
    },
    Mutation {
        name: "a withdrawal wakes nobody",
        file: "store/entry/claim.rs",
        find: "                self.release_token(&hold.token, forgotten_at);
                Transition::ended(())",
        replace: "                self.release_token(&hold.token, forgotten_at);
                Transition::changed(())",
    },
    Mutation {
        name: "the withdrawal of a take-over removes the record and its steps",
        file: "store/entry/claim.rs",
        find: "            State::InFlight { progress, .. }
                if is_own && run.attempt == 1 && progress.is_empty() =>
            {",
        replace: "            State::InFlight { .. } if is_own => {",
    },
    Mutation {
        name: "a take-over does not look at the lease",
        file: "store/entry/claim.rs",
        find: "} if lease_until.has_come(now) && run.fingerprint == *fingerprint => match on_lost {",
        replace: "} if run.fingerprint == *fingerprint => match on_lost {",
    },
    Mutation {
        name: "a claim behind its own withdrawal takes the key",
        file: "store/entry/claim.rs",
        find: "own.is_some_and(|run| run.token == *token) || self.spent.contains(token)",
        replace: "own.is_some_and(|run| run.token == *token)",
    },
    Mutation {
        name: "a sweep removes the record of a run",
        file: "store/memory/shard.rs",
        find: "            if slot.entry.is_expired(now) {",
        replace: "            if true {",
    },
    Mutation {
        name: "one waiter that leaves takes the others with it",
        file: "store/wakeups.rs",
        find: "            if waiters.get().count == 0 {
                waiters.remove();
            }",
        replace: "            waiters.remove();",
    },
    Mutation {
        name: "a waiter looks before it subscribes",
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
    },
    Mutation {
        name: "a claim that was won is not withdrawn when its client leaves",
        file: "engine/claim.rs",
        find: "        if let Some(claim) = self.claim.take() {
            let guard = ActiveRuns::enter_withdrawal(&claim.runs, &claim.store);
            claim.withdraw(guard, &self.runtime);
        }",
        replace: "        drop(self.claim.take());",
    },
    Mutation {
        name: "a claim on its way is not withdrawn when its client leaves",
        file: "engine/claim.rs",
        find: "        withdrawal.runtime.spawn(finishing.in_current_span());",
        replace: "        drop(finishing.in_current_span());",
    },
    Mutation {
        name: "a claim whose reply was lost is not withdrawn",
        file: "engine/claim.rs",
        find: "        Err(error) => error.kind() == StoreErrorKind::Unavailable && error.was_sent(),",
        replace: "        Err(_) => false,",
    },
    Mutation {
        name: "a run ends with its client",
        file: "engine/detach_on_drop.rs",
        find: "            self.runtime.spawn(run.map(drop));",
        replace: "            drop(run);",
    },
    Mutation {
        name: "a run begins although the reply to its claim was later than its lease",
        file: "engine/claimed_run.rs",
        find: "            if !self.hold.is_fresh(sent_at) {",
        replace: "            if false {",
    },
    Mutation {
        name: "a run that lost its key sends its own response",
        file: "engine/finish.rs",
        find: "            );
            IfOwner::NotOwner
        }
        Err(_) => {",
        replace: "            );
            executed(None)
        }
        Err(_) => {",
    },
    Mutation {
        name: "a shutdown looks before it listens",
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
    },
    Mutation {
        name: "a duplicate of a transactional run does not look again once it has subscribed",
        file: "engine/transactional.rs",
        find: "        if local_lock.running().is_none() {
            return Ok(());
        }",
        replace: "",
    },
    Mutation {
        name: "the end of a transactional run wakes nobody",
        file: "engine/local_locks.rs",
        find: "        if self.began.is_some() {
            self.keys.wakeups.wake(&self.id);
        }",
        replace: "",
    },
    Mutation {
        name: "a step that is dropped midway is not kept",
        file: "execution/step.rs",
        find: "        DetachOnDrop::new(step)
            .await
            .unwrap_or_else(|panic| resume_unwind(panic))",
        replace: "        step.await",
    },
    Mutation {
        name: "a run that fails does not wait for its steps",
        file: "execution/step.rs",
        find: "        if protection.steps.under_way.load(Ordering::SeqCst) == 0 {
            return self.persist_steps().await;",
        replace: "        if !protection.is_transactional {
            return self.persist_steps().await;",
    },
    Mutation {
        name: "two steps at the same time store over each other",
        file: "execution/step.rs",
        find: "        let mut progress = self.progress.lock().await;
        progress.push(name, result);",
        replace: "        let mut progress = self.progress.lock().await.clone();
        progress.push(name, result);",
    },
    Mutation {
        name: "an unconfirmed commit counts as undone",
        file: "execution/commit.rs",
        find: "        if !self.is_shared() {
            return Err(CommitError::Unknown(failure));",
        replace: "        if self.is_shared() {
            return Err(CommitError::Failed(failure));",
    },
    Mutation {
        name: "the check of an unconfirmed commit only reads",
        file: "engine/commit_status.rs",
        find: "            let claimed = with_store_timeout(
                store,
                store.claim(ClaimRequest::new(&hold, &entry.fingerprint, OnLost::Refuse)),
            )
            .await?;
            if matches!(claimed, Claim::Won { .. }) {",
        replace: "            let found = with_store_timeout(store, store.inspect(&hold.id)).await?;
            if found.is_none() {",
    },
    Mutation {
        name: "the check of an unconfirmed commit under a lease only reads",
        file: "engine/commit_status.rs",
        find: "            if with_store_timeout(store, store.renew(&entry.hold)).await? == IfOwner::Done(()) {",
        replace: "            let found = with_store_timeout(store, store.inspect(&entry.hold.id)).await?;
            if found.is_some_and(|found| matches!(found.phase, crate::record::Phase::InFlight { .. })) {",
    },
    Mutation {
        name: "a run begins beside another one that is about to commit",
        file: "engine/local_locks.rs",
        find: "        if key.running.as_ref().is_some_and(Running::is_live) || key.ended != self.ended {",
        replace: "        if key.ended != self.ended {",
    },
    Mutation {
        name: "the failure of a transaction is sent although an equal run has committed",
        file: "engine/transactional.rs",
        find: "                Ok(Some(_)) => return IfOwner::NotOwner,",
        replace: "                Ok(Some(_)) => None,",
    },
    Mutation {
        name: "a commit that its run drops midway counts as none",
        file: "execution/ended.rs",
        find: "            CommitState::Committing { is_shared: true } => return None,",
        replace: "            CommitState::Committing { is_shared: true } => Ended::Open,",
    },
    Mutation {
        name: "a commit that its handler drops midway counts as none",
        file: "web/attempt.rs",
        find: "            let ended = execution.resolved().await;",
        replace: "            let ended = Ended::Open;",
    },
    Mutation {
        name: "a piece of a response that comes later is missing",
        file: "web/saved_response.rs",
        find: "            Ok(Some(frame)) => unread.add(frame?),",
        replace: "            Ok(Some(_)) => {}",
    },
];
