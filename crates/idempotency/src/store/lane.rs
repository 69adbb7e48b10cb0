//! Sends together what arrives while a statement is under way: one call of the database for many keys.

mod queue;

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::{Handle, Id},
    sync::oneshot,
    task::yield_now,
    time::{Instant, timeout_at},
};

use super::StoreError;
use queue::{Queue, Waiting};

#[cfg(feature = "postgres")]
pub(super) use queue::MAX_TOGETHER_BYTES;

/// Steps of one kind, each on a key of its own, that one statement can do together.
pub(super) trait Together: Send + Sync + 'static {
    /// How many statements are under way at most. With more, fewer steps share a statement; with fewer, a step waits longer for
    /// its own.
    const TURNS: usize;

    type Step: Send + Sync + 'static;
    /// What a step finds or leaves.
    type Done: Send + 'static;
    type Attempt: Attempt;

    /// How much a step adds to its statement.
    fn bytes(step: &Self::Step) -> usize;

    /// Does these steps in one statement. It waits for another session's lock no longer than the patience, if at all.
    fn send(
        &self,
        steps: &[Self::Step],
        deadline: Instant,
        patience: Duration,
    ) -> impl Future<Output = Sent<Self>> + Send;
}

/// What each step of a statement comes to. One that comes to nothing has not been done, and goes alone.
pub(super) type Sent<T> =
    Result<Vec<Option<Result<<T as Together>::Done, StoreError>>>, ApartOf<T>>;

type ApartOf<T> = <<T as Together>::Attempt as Attempt>::Apart;

/// What is known of a step before it goes alone: until when it may take, and whether it may have been done with others.
pub(super) trait Attempt: Send + Sized {
    /// Why steps that went together have no results.
    type Apart: Apart;

    /// Nothing has been sent.
    fn first() -> Self;

    fn deadline(&self) -> Instant;

    /// The same, after it was sent together with others. An error if a step alone would fail too.
    fn together(self, apart: Self::Apart) -> Result<Self, StoreError>;

    /// The error at the deadline.
    fn silence() -> StoreError;
}

/// Why steps that went together have no results.
pub(super) trait Apart: Send + 'static {
    /// They were not done.
    fn undone() -> Self;

    /// They may have been done.
    fn lost(reason: String) -> Self;

    /// The same, for one of several.
    fn for_one(&self) -> Self;
}

/// The steps of one kind. A step goes at once, alone, as long as hardly any other is under way. Those that arrive while
/// [`TURNS`](Together::TURNS) statements are go together in the next one.
///
/// A statement for many keys is only a shortcut. A step that it leaves out, or that fails in it, goes alone and outside of
/// the lane, so that each key has its own errors, its own repetitions, and its own wait for a lock.
pub(super) struct Lane<T: Together>(Arc<Shared<T>>);

struct Shared<T: Together> {
    together: T,
    queue: Mutex<Queue<T>>,
}

enum Reply<T: Together> {
    /// No other step is waiting, so this one goes alone.
    Turn(Turn<T>),
    Done(Result<T::Done, StoreError>),
    Apart(ApartOf<T>),
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
    Alone(Option<Turn<T>>, T::Attempt),
}

impl<T: Together> Lane<T> {
    pub(super) fn new(together: T) -> Self {
        Self(Arc::new(Shared {
            together,
            queue: Mutex::default(),
        }))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn together(&self) -> &T {
        &self.0.together
    }

    /// Does the step with others, or by this function alone.
    pub(super) async fn run<F>(
        &self,
        step: impl FnOnce() -> T::Step,
        alone: impl FnOnce(T::Attempt) -> F,
    ) -> Result<T::Done, StoreError>
    where
        F: Future<Output = Result<T::Done, StoreError>>,
    {
        match self.join(step).await? {
            Joined::Done(done) => done,
            Joined::Alone(turn, attempt) => {
                // In a box of its own: a step that waits for others needs little room, and is moved often.
                let done = Box::pin(alone(attempt)).await;
                if let Some(turn) = turn {
                    turn.end().await;
                }
                done
            }
        }
    }

    /// Waits until the step has been done with others, or has to go alone.
    async fn join(&self, step: impl FnOnce() -> T::Step) -> Result<Joined<T>, StoreError> {
        let attempt = T::Attempt::first();
        if let Some(turn) = self.0.free_turn(&mut self.0.queue.lock()) {
            return Ok(Joined::Alone(Some(turn), attempt));
        }
        // It may copy a long outcome, for which the others do not wait.
        let step = step();
        let (number, mut patient_until, mut replied) = {
            let mut queue = self.0.queue.lock();
            if let Some(turn) = self.0.free_turn(&mut queue) {
                return Ok(Joined::Alone(Some(turn), attempt));
            }
            let (reply, replied) = oneshot::channel();
            let number = queue.push(step, attempt.deadline(), reply);
            (number, Instant::now() + queue.patience(), replied)
        };
        loop {
            match timeout_at(attempt.deadline().min(patient_until), &mut replied).await {
                Ok(Ok(Reply::Done(done))) => return Ok(Joined::Done(done)),
                Ok(Ok(Reply::Turn(turn))) => return Ok(Joined::Alone(Some(turn), attempt)),
                Ok(Ok(Reply::Apart(apart))) => {
                    return Ok(Joined::Alone(None, attempt.together(apart)?));
                }
                // The statement was dropped midway, with its runtime.
                Ok(Err(dropped)) => {
                    let lost = ApartOf::<T>::lost(dropped.to_string());
                    return Ok(Joined::Alone(None, attempt.together(lost)?));
                }
                Err(_) if Instant::now() >= attempt.deadline() => return Err(T::Attempt::silence()),
                Err(_) => patient_until = self.0.overtake(number),
            }
        }
    }
}

impl<T: Together> Shared<T> {
    fn turn(self: &Arc<Self>, queue: &mut Queue<T>) -> Turn<T> {
        Turn {
            lane: Arc::clone(self),
            number: queue.begin_turn(),
        }
    }

    fn free_turn(self: &Arc<Self>, queue: &mut Queue<T>) -> Option<Turn<T>> {
        queue.has_turn().then(|| self.turn(queue))
    }

    /// Begins the next turn in place of the earliest one, if this step still waits and no task is about to take it. Returns
    /// how long the step waits after that.
    fn overtake(self: &Arc<Self>, number: u64) -> Instant {
        let mut queue = self.queue.lock();
        let runtime = match queue.late(number) {
            Ok(runtime) => runtime,
            Err(patient_until) => return patient_until,
        };
        queue.end_earliest_turn();
        let patient_until = Instant::now() + queue.patience();
        self.call(queue, &runtime);
        patient_until
    }

    /// Ends a turn, and begins the next one if steps are waiting. Returns whether it has.
    fn pass_on(self: &Arc<Self>, ended: u64) -> bool {
        let mut queue = self.queue.lock();
        // It may have ended before, or was overtaken.
        if !queue.end_turn(ended) {
            return false;
        }
        let next = queue.next();
        let begins = next.is_some();
        if let Some(runtime) = next {
            self.call(queue, &runtime);
        }
        begins
    }

    /// Begins a turn for the steps that wait in this runtime, with a task to take them.
    fn call(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue<T>>, runtime: &Handle) {
        queue.call(runtime.id());
        let turn = self.turn(&mut queue);
        // A runtime that has ended drops the task at once, and the turn with it.
        drop(queue);
        runtime.spawn(go(turn, runtime.id()));
    }

    /// Takes steps that wait in this runtime. Others of it may have waited for that.
    fn take(self: &Arc<Self>, runtime: Id) -> Vec<Waiting<T>> {
        let mut queue = self.queue.lock();
        let taken = queue.take(runtime);
        if queue.has_turn()
            && let Some(runtime) = queue.next()
        {
            self.call(queue, &runtime);
        }
        taken
    }
}

/// Lets the steps go that wait in this runtime: one in the task of its caller, several in this task.
///
/// They wait until this task begins, and are not part of it before. It may stand behind a handler that blocks its thread;
/// then one of them [overtakes](Shared::overtake) it.
async fn go<T: Together>(turn: Turn<T>, runtime: Id) {
    let mut next = turn.lane.take(runtime);
    if next.len() > 1 {
        go_together(next, turn).await;
    } else if let Some(alone) = next.pop() {
        // If its caller has left, the reply is dropped, and the turn with it.
        drop(alone.reply.send(Reply::Turn(turn)));
    }
}

async fn go_together<T: Together>(next: Vec<Waiting<T>>, turn: Turn<T>) {
    // The callers keep their own deadlines: one that is about to end does not end another's step.
    let deadline = next.iter().map(|waiting| waiting.deadline).max();
    let deadline = deadline.unwrap_or_else(Instant::now);
    let (steps, replies): (Vec<_>, Vec<_>) = next
        .into_iter()
        .map(|waiting| (waiting.step, waiting.reply))
        .unzip();
    let (patience, began) = (turn.lane.queue.lock().patience(), Instant::now());
    match turn.lane.together.send(&steps, deadline, patience).await {
        Ok(done) => {
            turn.lane.queue.lock().note_time(began.elapsed());
            for (reply, done) in replies.into_iter().zip(done) {
                drop(reply.send(done.map_or(Reply::Apart(ApartOf::<T>::undone()), Reply::Done)));
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
    /// Ends it. The task that this spawns may wait for this very thread, which a handler may block next.
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
