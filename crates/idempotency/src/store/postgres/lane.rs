//! Sends together what arrives while a statement is under way.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::connections::{Apart, Attempt, silence};
use crate::StoreError;

/// Steps of one kind, each on a key of its own, that one statement can do together.
pub(super) trait Together: Send + Sync + 'static {
    type Step: Send + Sync + 'static;
    /// What a step finds or leaves.
    type Done: Send + 'static;

    /// Does these steps in one statement.
    fn send(
        &self,
        steps: &[Self::Step],
        deadline: Instant,
    ) -> impl Future<Output = Sent<Self::Done>> + Send;
}

/// What each step of a statement comes to. One that comes to nothing has not been done, and goes alone.
pub(super) type Sent<T> = Result<Vec<Option<Result<T, StoreError>>>, Apart>;

/// The steps of one kind. A step goes at once, alone, as long as hardly any other is under way. Those that arrive while
/// [`TURNS`] statements are go together in the next one.
///
/// A statement for many keys is only a shortcut. A step that it leaves out, or that fails in it, goes alone and outside of
/// the lane, so that each key has its own errors, its own repetitions, and its own wait for a lock.
pub(super) struct Lane<T: Together>(Arc<Shared<T>>);

struct Shared<T: Together> {
    together: T,
    state: Mutex<State<T>>,
}

struct State<T: Together> {
    /// The turns that are under way, the earliest first.
    turns: Vec<u64>,
    /// The number of the last turn, or of the last step that waits.
    last: u64,
    waiting: VecDeque<Waiting<T>>,
}

/// A step that waits for its turn. Its caller has left if the reply's receiver is gone.
struct Waiting<T: Together> {
    number: u64,
    step: T::Step,
    deadline: Instant,
    reply: oneshot::Sender<Reply<T>>,
    runtime: Handle,
}

enum Reply<T: Together> {
    /// No other step is waiting, so this one goes alone.
    Turn(Turn<T>),
    Done(Result<T::Done, StoreError>),
    Apart(Apart),
}

/// The right to send the next statement. Those that wait go when it ends.
struct Turn<T: Together> {
    lane: Arc<Shared<T>>,
    number: u64,
}

/// What becomes of a step.
enum Joined<T: Together> {
    Done(Result<T::Done, StoreError>),
    /// It has to go alone: in its turn, or outside of the lane.
    Alone(Option<Turn<T>>, Attempt),
}

/// How long a step waits for the statements that are under way. After that the next one goes too: a network may have
/// dropped them, their keys may be locked, or their tasks may stand behind a handler that blocks its thread.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many statements are under way at most. While one waits for its commit, the server works on the other. With more,
/// fewer steps would share a statement.
const TURNS: usize = 2;

/// More would make the first of them wait for the last one without saving much of a commit's cost.
const MAX_TOGETHER: usize = 64;

impl<T: Together> Lane<T> {
    pub(super) fn new(together: T) -> Self {
        Self(Arc::new(Shared {
            together,
            state: Mutex::new(State {
                turns: Vec::new(),
                last: 0,
                waiting: VecDeque::new(),
            }),
        }))
    }

    pub(super) fn together(&self) -> &T {
        &self.0.together
    }

    /// Does the step with others, or by this function alone.
    pub(super) async fn run<F>(
        &self,
        step: impl FnOnce() -> T::Step,
        alone: impl FnOnce(Attempt) -> F,
    ) -> Result<T::Done, StoreError>
    where
        F: Future<Output = Result<T::Done, StoreError>>,
    {
        match self.join(step).await? {
            Joined::Done(done) => done,
            Joined::Alone(turn, attempt) => {
                let done = alone(attempt).await;
                if let Some(turn) = turn {
                    turn.end().await;
                }
                done
            }
        }
    }

    /// Waits until the step has been done with others, or has to go alone.
    async fn join(&self, step: impl FnOnce() -> T::Step) -> Result<Joined<T>, StoreError> {
        let attempt = Attempt::first();
        let (number, mut replied) = {
            let mut state = self.0.state.lock();
            if state.turns.len() < TURNS {
                let turn = self.0.turn(&mut state);
                return Ok(Joined::Alone(Some(turn), attempt));
            }
            let (reply, replied) = oneshot::channel();
            let number = state.next_number();
            state.waiting.push_back(Waiting {
                number,
                step: step(),
                deadline: attempt.deadline(),
                reply,
                runtime: Handle::current(),
            });
            (number, replied)
        };
        loop {
            let patience = attempt.deadline().min(Instant::now() + PATIENCE);
            match timeout_at(patience, &mut replied).await {
                Ok(Ok(Reply::Done(done))) => return Ok(Joined::Done(done)),
                Ok(Ok(Reply::Turn(turn))) => return Ok(Joined::Alone(Some(turn), attempt)),
                Ok(Ok(Reply::Apart(apart))) => {
                    return Ok(Joined::Alone(None, attempt.together(apart)?));
                }
                // The statement was dropped midway, with its runtime.
                Ok(Err(dropped)) => {
                    let lost = Apart::Lost(dropped.to_string());
                    return Ok(Joined::Alone(None, attempt.together(lost)?));
                }
                Err(_) if Instant::now() >= attempt.deadline() => return Err(silence()),
                Err(_) => self.0.overtake(number),
            }
        }
    }
}

impl<T: Together> Shared<T> {
    fn turn(self: &Arc<Self>, state: &mut State<T>) -> Turn<T> {
        let number = state.next_number();
        state.turns.push(number);
        Turn {
            lane: Arc::clone(self),
            number,
        }
    }

    /// Begins the next turn beside those that are under way, if this step still waits. It takes the place of the earliest
    /// one.
    fn overtake(self: &Arc<Self>, number: u64) {
        let mut state = self.state.lock();
        if state.waiting.iter().any(|waiting| waiting.number == number) {
            let next = state.take();
            // Steps wait only while all turns are taken.
            state.turns.remove(0);
            let turn = self.turn(&mut state);
            drop(state);
            go(next, turn);
        }
    }

    /// Ends a turn, and begins the next one if steps are waiting. Returns whether that has woken a task.
    fn pass_on(self: &Arc<Self>, ended: u64) -> bool {
        let mut state = self.state.lock();
        let Some(index) = state.turns.iter().position(|turn| *turn == ended) else {
            // It has ended before, or was overtaken.
            return false;
        };
        state.turns.remove(index);
        let next = state.take();
        if next.is_empty() {
            return false;
        }
        let turn = self.turn(&mut state);
        drop(state);
        go(next, turn);
        true
    }
}

impl<T: Together> State<T> {
    const fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The steps that go next. They are of one runtime: another one may not be driven for a while.
    fn take(&mut self) -> Vec<Waiting<T>> {
        let (mut next, mut others) = (Vec::new(), VecDeque::new());
        let mut runtime = None;
        for waiting in mem::take(&mut self.waiting) {
            if waiting.reply.is_closed() {
                continue;
            }
            let its_runtime = waiting.runtime.id();
            if next.len() < MAX_TOGETHER && *runtime.get_or_insert(its_runtime) == its_runtime {
                next.push(waiting);
            } else {
                others.push_back(waiting);
            }
        }
        self.waiting = others;
        next
    }
}

/// Lets these steps go: one in the task of its caller, several in a new task.
fn go<T: Together>(mut next: Vec<Waiting<T>>, turn: Turn<T>) {
    if next.len() > 1 {
        let runtime = next[0].runtime.clone();
        runtime.spawn(go_together(next, turn));
    } else if let Some(alone) = next.pop() {
        // If its caller has left, the reply is dropped, and the turn with it.
        drop(alone.reply.send(Reply::Turn(turn)));
    }
}

async fn go_together<T: Together>(next: Vec<Waiting<T>>, turn: Turn<T>) {
    // The callers keep their own deadlines: one that is about to end ends nobody else's step.
    let deadline = next.iter().map(|waiting| waiting.deadline).max();
    let deadline = deadline.unwrap_or_else(Instant::now);
    let (steps, replies): (Vec<_>, Vec<_>) = next
        .into_iter()
        .map(|waiting| (waiting.step, waiting.reply))
        .unzip();
    match turn.lane.together.send(&steps, deadline).await {
        Ok(done) => {
            for (reply, done) in replies.into_iter().zip(done) {
                drop(reply.send(done.map_or(Reply::Apart(Apart::Undone), Reply::Done)));
            }
        }
        Err(apart) => {
            for reply in replies {
                drop(reply.send(Reply::Apart(apart.for_one())));
            }
        }
    }
}

impl<T: Together> Turn<T> {
    /// Ends it. The task that this wakes may wait for this very thread, which a handler may block next.
    async fn end(self) {
        if self.lane.pass_on(self.number) {
            yield_now().await;
        }
    }
}

impl<T: Together> Drop for Turn<T> {
    fn drop(&mut self) {
        self.lane.pass_on(self.number);
    }
}
