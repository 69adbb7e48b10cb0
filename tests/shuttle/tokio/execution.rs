//! What a test does with an execution: it begins one, moves its time, and waits until all tasks have ended.

use std::{
    cell::RefCell,
    future::poll_fn,
    task::{Poll, Waker},
    time::Duration,
};

use shuttle_engine::runtime::thread;

use crate::time::Timers;

thread_local! {
    /// Shuttle runs all tasks of an execution on one thread.
    static TIMERS: RefCell<Timers> = RefCell::default();
    static TASKS: RefCell<Tasks> = RefCell::default();
}

#[derive(Default)]
struct Tasks {
    running: usize,
    /// The test that waits for their end.
    waiting: Option<Waker>,
}

/// One task that has been spawned. It ends when this is dropped.
pub(crate) struct Running(());

/// Begins an execution: its time is zero.
pub fn restart() {
    TIMERS.take();
    TASKS.take();
}

/// Moves time, and wakes those who slept until then.
pub fn advance(by: Duration) {
    let due = timers(|timers| timers.advance(by));
    due.into_iter().for_each(Waker::wake);
    point();
}

/// Returns once all tasks have ended that were spawned. If one never ends, shuttle reports a deadlock.
pub async fn all_ended() {
    poll_fn(|context| {
        TASKS.with_borrow_mut(|tasks| {
            if tasks.running == 0 {
                return Poll::Ready(());
            }
            tasks.waiting = Some(context.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

/// Where the scheduler may let another task go on.
pub(crate) fn point() {
    thread::switch();
}

pub(crate) fn timers<T>(with: impl FnOnce(&mut Timers) -> T) -> T {
    TIMERS.with_borrow_mut(with)
}

impl Running {
    pub(crate) fn start() -> Self {
        TASKS.with_borrow_mut(|tasks| tasks.running += 1);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let waiting = TASKS.with_borrow_mut(|tasks| {
            // An execution that failed leaves tasks to the next one.
            tasks.running = tasks.running.saturating_sub(1);
            if tasks.running == 0 {
                tasks.waiting.take()
            } else {
                None
            }
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}
