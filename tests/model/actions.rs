//! What may happen next, and what it changes.

use bytes::Bytes;
use idempotency::{
    __model1::{
        AfterLook, AfterRefusedEnd, CommitStatus, Persist, Progress, after_look, after_refused_end,
        commit_status, owner, response_of_the_owner,
    },
    OnLost,
    store::{Entry, IfOwner, Phase as RecordPhase},
};

use crate::{
    config::Config,
    world::{Answer, LEASE, MAX_DELAY, Message, Op, Phase, Reply, Stored, World, asked, hold},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Send(u8),
    /// The message arrives; the store's reply arrives at once.
    Deliver(usize),
    /// The same, but the reply takes a while.
    DeliverSlowly(usize),
    /// The same, and the message arrives once more.
    Double(usize),
    Lose(usize),
    Resend(u8),
    /// The client leaves, or the store takes too long to reply to the claim.
    Leave(u8),
    TakeStep(u8),
    Finish(u8),
    Fail(u8),
    Renew(u8),
    /// Asks what became of a transaction whose commit was not confirmed.
    AskStatus(u8),
    Crash(u8),
    Tick,
    Sweep,
}

impl World {
    pub(crate) fn possible(&self, config: &Config) -> Vec<Action> {
        let mut actions = Vec::new();
        let has_faults = self.faults > 0;
        for (index, message) in self.network.iter().enumerate() {
            actions.push(Action::Deliver(index));
            // The engine sends a withdrawal until it has a reply.
            if has_faults && message.reply.is_none() {
                actions.push(Action::Double(index));
                if message.op != Op::Withdraw {
                    actions.extend([Action::DeliverSlowly(index), Action::Lose(index)]);
                }
            }
        }
        for from in 0..self.len() {
            let request = &self.requests[usize::from(from)];
            match request.phase {
                Phase::NotSent => actions.push(Action::Send(from)),
                Phase::Running => {
                    if request.has_step || config.is_transactional {
                        actions.push(Action::Finish(from));
                    } else {
                        actions.push(Action::TakeStep(from));
                    }
                    if has_faults && !config.is_transactional {
                        actions.push(Action::Fail(from));
                    }
                }
                Phase::Claiming(_) | Phase::Refreshing if has_faults => {
                    actions.push(Action::Leave(from));
                }
                Phase::Ending(Op::Commit) => actions.push(Action::AskStatus(from)),
                _ => {}
            }
            if let Some(op) = request.awaits()
                && op != Op::Commit
                && !self.has_message(from, Some(op))
            {
                actions.push(Action::Resend(from));
            }
            if request.works() && self.renewals > 0 && !config.is_transactional {
                actions.push(Action::Renew(from));
            }
        }
        if self.crashes > 0 {
            actions.extend([Action::Crash(0), Action::Crash(1)]);
        }
        if self.now < config.last_tick && self.may_tick() {
            actions.push(Action::Tick);
        }
        if self.entry.0 != Entry::default() && self.entry.0.is_expired(self.time()) {
            actions.push(Action::Sweep);
        }
        actions
    }

    /// The world after this.
    pub(crate) fn after(&self, config: &Config, action: Action) -> Self {
        let mut next = self.clone();
        next.act(config, action);
        next
    }

    fn act(&mut self, config: &Config, action: Action) {
        match action {
            Action::Send(from) => self.begin(config, from),
            Action::Deliver(index) => {
                let message = self.network.remove(index);
                self.deliver(config, message);
            }
            Action::Double(index) => {
                self.faults -= 1;
                self.deliver(config, self.network[index]);
            }
            Action::DeliverSlowly(index) => {
                self.faults -= 1;
                let mut message = self.network.remove(index);
                let reply = self.apply(config, message.op, message.from);
                message.reply = Some((self.now, reply));
                self.put(message);
            }
            Action::Lose(index) => {
                self.faults -= 1;
                self.network.remove(index);
            }
            Action::Resend(from) => {
                if let Some(op) = self.requests[usize::from(from)].awaits() {
                    self.send(op, from);
                }
            }
            Action::Leave(from) => {
                self.faults -= 1;
                self.send(Op::Withdraw, from);
                self.answer(from, Answer::Refused);
            }
            Action::TakeStep(from) => {
                if self.requests[usize::from(from)].follows_step {
                    self.broken = Some("a step whose result was kept is done again");
                }
                self.wait_for(from, Phase::Keeping);
            }
            Action::Finish(from) if config.is_transactional => {
                self.wait_for(from, Phase::Ending(Op::Commit));
            }
            Action::Finish(from) => self.wait_for(from, Phase::Ending(Op::Complete)),
            Action::Fail(from) => {
                self.faults -= 1;
                let op = match self.requests[usize::from(from)].has_step {
                    true => Op::Suspend,
                    false => Op::Release,
                };
                self.wait_for(from, Phase::Ending(op));
            }
            Action::Renew(from) => {
                self.renewals -= 1;
                self.send(Op::Renew, from);
            }
            Action::AskStatus(from) => self.ask_status(from),
            Action::Crash(process) => {
                self.crashes -= 1;
                for request in self.requests.iter_mut().skip(process.into()).step_by(2) {
                    if request.phase != Phase::NotSent && !request.has_ended() {
                        request.phase = Phase::Dead;
                    }
                }
            }
            Action::Tick => self.now += 1,
            Action::Sweep => self.entry = Stored::default(),
        }
    }

    fn begin(&mut self, config: &Config, from: u8) {
        if !config.is_transactional {
            return self.wait_for(from, Phase::Claiming(Op::Claim));
        }
        match after_look(&asked(), self.record()) {
            Ok(AfterLook::RunInTransaction) => {
                self.requests[usize::from(from)].phase = Phase::Running;
            }
            Ok(AfterLook::Replay { .. }) => self.answer(from, Answer::Replayed),
            Ok(AfterLook::ClaimLease) | Err(_) => self.answer(from, Answer::Refused),
        }
    }

    fn deliver(&mut self, config: &Config, message: Message) {
        let Message { op, from, .. } = message;
        let reply = match message.reply {
            Some((_, reply)) => reply,
            None => self.apply(config, op, from),
        };
        let is_suspended = self.is_suspended();
        let has_copy = self.has_message(from, Some(op));
        let Some(request) = self.requests.get_mut(usize::from(from)) else {
            return;
        };
        let lease_until = match config.rules.counts_from_sending {
            true => message.sent_at + LEASE,
            false => self.now + LEASE,
        };
        if op == Op::Renew && reply == Reply::Done && request.works() {
            request.lease_until = request.lease_until.max(lease_until);
        }
        if request.awaits() != Some(op) {
            return;
        }
        let is_lost = matches!(reply, Reply::InspectLost | Reply::Refuse | Reply::Replay);
        request.has_stray_claim |= has_copy && is_lost;
        match (op, reply) {
            // A lost run is not taken over, unless it suspended itself.
            (Op::ClaimSuspended, Reply::Run { is_lost: true, .. })
                if config.on_lost == OnLost::Refuse =>
            {
                self.send(Op::Withdraw, from);
                self.answer(from, Answer::Refused);
            }
            (Op::Reclaim, Reply::Run { .. }) => {
                self.wait_for(from, Phase::Ending(Op::Complete));
            }
            (
                _,
                Reply::Run {
                    attempt,
                    has_step,
                    follows_step,
                    ..
                },
            ) => {
                request.attempt = attempt;
                request.has_step = has_step;
                request.follows_step = follows_step;
                self.run_within(config, from, message.sent_at, lease_until);
            }
            (Op::Claim, Reply::InspectLost) if is_suspended => {
                self.wait_for(from, Phase::Claiming(Op::ClaimSuspended));
            }
            (_, Reply::Replay) => self.answer(from, Answer::Replayed),
            (Op::Renew, Reply::Done) => {
                self.run_within(config, from, message.sent_at, lease_until);
            }
            (Op::Checkpoint, Reply::Done) => {
                request.has_step = true;
                request.phase = Phase::Running;
            }
            (Op::Complete | Op::Commit, Reply::Done) => self.answer(from, Answer::Executed),
            (_, Reply::InspectLost | Reply::Refuse | Reply::Done) => {
                self.answer(from, Answer::Refused);
            }
            (_, Reply::NotOwner) => self.lost(from, op),
        }
    }

    /// Begins the run, if its lease is fresh.
    fn run_within(&mut self, config: &Config, from: u8, sent_at: u8, lease_until: u8) {
        let elapsed = self.now - sent_at;
        if config.rules.counts_from_sending && elapsed * 3 >= LEASE {
            return self.wait_for(from, Phase::Refreshing);
        }
        let request = &mut self.requests[usize::from(from)];
        request.phase = Phase::Running;
        request.lease_until = lease_until;
    }

    /// What a run does whose call was refused because it does not own the key.
    fn lost(&mut self, from: u8, op: Op) {
        let record = self.record();
        let persist = match op {
            Op::Complete => Persist::Outcome(Bytes::new().into()),
            Op::Suspend => Persist::Steps(Progress::default()),
            _ => Persist::Nothing,
        };
        let reclaims = matches!(after_refused_end(&persist), AfterRefusedEnd::Reclaim);
        if reclaims && op == Op::Complete && record.is_none() {
            return self.wait_for(from, Phase::Ending(Op::Reclaim));
        }
        if op == Op::Release && owner(&hold(from, 0).token, record.as_ref()) == IfOwner::Done(()) {
            self.send(Op::Withdraw, from);
            return self.answer(from, Answer::Refused);
        }
        let answer = match response_of_the_owner(&asked(), record) {
            Ok(_) => Answer::Replayed,
            Err(_) => Answer::Refused,
        };
        self.answer(from, answer);
    }

    /// Before it reads, the engine writes to the record, so that a commit on its way fails.
    fn ask_status(&mut self, from: u8) {
        self.network.retain(|message| message.from != from);
        let own = hold(from, 0).token;
        let status = self.record().map(|record| commit_status(&own, record));
        match status {
            Some(CommitStatus::Committed { .. }) => self.answer(from, Answer::Executed),
            Some(CommitStatus::Superseded) => self.lost(from, Op::Commit),
            Some(CommitStatus::NotCommitted) | None => self.answer(from, Answer::Refused),
        }
    }

    fn is_suspended(&self) -> bool {
        self.record().is_some_and(|record| match record.phase {
            RecordPhase::InFlight { progress, .. } => {
                Progress::read(progress).is_ok_and(|progress| progress.is_suspended(record.attempt))
            }
            _ => false,
        })
    }

    fn wait_for(&mut self, from: u8, phase: Phase) {
        let request = &mut self.requests[usize::from(from)];
        request.phase = phase;
        if let Some(op) = request.awaits() {
            self.send(op, from);
        }
    }

    fn answer(&mut self, from: u8, answer: Answer) {
        self.requests[usize::from(from)].phase = Phase::Answered(answer);
    }

    fn may_tick(&self) -> bool {
        let age = |message: &Message| {
            let since = message.reply.map_or(message.sent_at, |(at, _)| at);
            self.now + 1 - since
        };
        self.network.iter().all(|message| age(message) <= MAX_DELAY)
    }

    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.requests.len()).expect("a small model")
    }
}
