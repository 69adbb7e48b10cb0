//! What waits in a lane, and whose turn it is.

use std::time::Duration;

use tokio::{
    runtime::{Handle, Id},
    sync::oneshot,
    time::Instant,
};

use super::{Reply, Together};

pub(super) struct Queue<T: Together> {
    /// The turns that are under way, the earliest first.
    turns: Vec<u64>,
    /// The number of the last turn, or of the last step that waits.
    last: u64,
    /// The steps that wait, the earliest first.
    waiting: Vec<Waiting<T>>,
    /// How long the slowest of the last statements took that many steps shared, and when it ended.
    slowest: Option<(Duration, Instant)>,
}

/// A step that waits for its turn. Its caller has left if the reply's receiver is gone.
pub(super) struct Waiting<T: Together> {
    number: u64,
    pub(super) step: T::Step,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Reply<T>>,
    runtime: Handle,
    /// Since when a task is about to take it.
    called: Option<Instant>,
}

/// What still fits in a statement.
struct Room {
    steps: usize,
    bytes: usize,
}

/// How long a step waits for the statements that are under way, or for a task to take it. After that the next one goes
/// too: a network may have dropped them, their keys may be locked, or their tasks may stand behind a handler that blocks
/// its thread.
const PATIENCE: Duration = Duration::from_millis(50);

/// The same where commits are slow. It leaves a step enough of its time for a commit that is slower still.
const MAX_PATIENCE: Duration = Duration::from_millis(500);

/// How long a slow statement is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);

/// More would make the first of them wait for the last one without saving much of a commit's cost.
const MAX_TOGETHER: usize = 64;

/// How much a statement carries, to the server or back: more would take longer to send than to commit.
pub(in crate::store) const MAX_TOGETHER_BYTES: usize = 1 << 20;

impl<T: Together> Queue<T> {
    /// Whether a statement may go beside those that are under way.
    pub(super) const fn has_turn(&self) -> bool {
        self.turns.len() < T::TURNS
    }

    pub(super) fn begin_turn(&mut self) -> u64 {
        let number = self.next_number();
        self.turns.push(number);
        number
    }

    /// Returns whether it was under way.
    pub(super) fn end_turn(&mut self, number: u64) -> bool {
        let index = self.turns.iter().position(|turn| *turn == number);
        index.map(|index| self.turns.remove(index)).is_some()
    }

    /// Ends a turn that is late, if there is none to spare.
    pub(super) fn end_earliest_turn(&mut self) {
        if !self.has_turn() {
            self.turns.remove(0);
        }
    }

    pub(super) fn note_time(&mut self, took: Duration) {
        // One that took half as long is waited for as patiently, and keeps the memory fresh.
        if 2 * took >= self.slowest() {
            self.slowest = Some((took, Instant::now()));
        }
    }

    /// How long a step waits. A statement that takes no longer than others did is not late: the server commits slowly. A quick
    /// one says nothing of that, because it may have written nothing.
    pub(super) fn patience(&self) -> Duration {
        (2 * self.slowest()).clamp(PATIENCE, MAX_PATIENCE)
    }

    fn slowest(&self) -> Duration {
        let remembered = self.slowest.filter(|(_, at)| at.elapsed() < REMEMBERED);
        remembered.map_or(Duration::ZERO, |(took, _)| took)
    }

    /// Returns the step's number.
    pub(super) fn push(
        &mut self,
        step: T::Step,
        deadline: Instant,
        reply: oneshot::Sender<Reply<T>>,
    ) -> u64 {
        let number = self.next_number();
        self.waiting.push(Waiting {
            number,
            step,
            deadline,
            reply,
            runtime: Handle::current(),
            called: None,
        });
        number
    }

    /// The runtime of the step that goes next. One with a task that is about to take its steps is passed over: it may not be
    /// driven for a while, or its thread may be blocked, and that must not cost another turn.
    pub(super) fn next(&mut self) -> Option<Handle> {
        self.forget_those_left();
        let is_called = |runtime: Id| {
            let mut its_steps = self.waiting.iter().filter(|it| it.runtime.id() == runtime);
            its_steps.any(|it| it.called.is_some())
        };
        let mut waiting = self.waiting.iter();
        let first = waiting.find(|it| !is_called(it.runtime.id()))?;
        Some(first.runtime.clone())
    }

    /// The runtime of this step, if it has waited too long. That runtime is driven, because the step's caller asks.
    /// Otherwise until when the step should wait.
    pub(super) fn late(&self, number: u64) -> Result<Handle, Instant> {
        let now = Instant::now();
        let mut waiting = self.waiting.iter();
        // Otherwise it is part of a statement.
        let Some(waiting) = waiting.find(|it| it.number == number) else {
            return Err(now + self.patience());
        };
        match waiting.called.map(|since| since + self.patience()) {
            Some(until) if now < until => Err(until),
            _ => Ok(waiting.runtime.clone()),
        }
    }

    /// Notes that a task of this runtime is about to take its steps.
    pub(super) fn call(&mut self, runtime: Id) {
        let now = Instant::now();
        for waiting in self
            .waiting
            .iter_mut()
            .filter(|it| it.runtime.id() == runtime)
        {
            waiting.called = Some(now);
        }
    }

    /// The steps that go in one statement. They are of one runtime: another one may not be driven for a while.
    pub(super) fn take(&mut self, runtime: Id) -> Vec<Waiting<T>> {
        self.forget_those_left();
        let mut room = Room {
            steps: MAX_TOGETHER,
            bytes: MAX_TOGETHER_BYTES,
        };
        let goes = |waiting: &mut Waiting<T>| {
            if waiting.runtime.id() != runtime {
                return false;
            }
            waiting.called = None;
            room.takes(T::bytes(&waiting.step))
        };
        self.waiting.extract_if(.., goes).collect()
    }

    const fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn forget_those_left(&mut self) {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
    }
}

impl<T: Together> Default for Queue<T> {
    fn default() -> Self {
        Self {
            turns: Vec::new(),
            last: 0,
            waiting: Vec::new(),
            slowest: None,
        }
    }
}

impl Room {
    /// Whether this step fits. Behind one that does not, none does, so that none is passed by.
    const fn takes(&mut self, bytes: usize) -> bool {
        // The first always goes.
        if self.steps == 0 || (bytes > self.bytes && self.steps < MAX_TOGETHER) {
            self.steps = 0;
            return false;
        }
        self.steps -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}
