//! A depth-first search of schedules that differ from the usual one in a few places.

use shuttle::scheduler::{DataSource, RandomDataSource, Schedule, Scheduler, Task, TaskId};

/// Usually a task goes on until it waits, and then the next one does. This scheduler tries every schedule with up to so many other
/// choices. All interleavings of scenarios like these would be too many, and nearly every fault of concurrent code needs one or two.
#[derive(Debug)]
pub(crate) struct Deviations {
    max: usize,
    /// The choices of the current schedule, from its beginning.
    levels: Vec<Level>,
    depth: usize,
    used: usize,
    has_begun: bool,
    data: RandomDataSource,
}

#[derive(Debug)]
struct Level {
    /// The usual choice, and the others that are to be tried here.
    choices: Vec<TaskId>,
    chosen: usize,
}

/// The same in each execution, so that only the choices differ.
const SEED: u64 = 14;

impl Deviations {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            levels: Vec::new(),
            depth: 0,
            used: 0,
            has_begun: false,
            data: RandomDataSource::initialize(SEED),
        }
    }

    /// Goes on to the next choice of the last level that has one. Returns false if there is none.
    fn advance(&mut self) -> bool {
        while let Some(mut level) = self.levels.pop() {
            level.chosen += 1;
            if level.chosen < level.choices.len() {
                self.levels.push(level);
                return true;
            }
        }
        false
    }
}

impl Scheduler for Deviations {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.has_begun && !self.advance() {
            return None;
        }
        self.has_begun = true;
        (self.depth, self.used) = (0, 0);
        self.data = RandomDataSource::initialize(SEED);
        Some(Schedule::new(self.data.reinitialize()))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        if self.depth == self.levels.len() {
            let mut choices: Vec<_> = runnable.iter().map(|task| task.id()).collect();
            let is_next = |task: &TaskId| current.is_none_or(|current| *task >= current);
            let usual = choices.iter().position(is_next).unwrap_or(0);
            choices.rotate_left(usual);
            if self.used == self.max {
                choices.truncate(1);
            }
            self.levels.push(Level { choices, chosen: 0 });
        }
        let level = &self.levels[self.depth];
        self.depth += 1;
        self.used += usize::from(level.chosen > 0);
        Some(level.choices[level.chosen])
    }

    fn next_u64(&mut self) -> u64 {
        self.data.next_u64()
    }
}
