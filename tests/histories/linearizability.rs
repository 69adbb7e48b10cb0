//! Whether the replies that a key's callers got are those of some order of their calls, in which each comes after all that had returned
//! before it was sent: the search of Wing and Gong, which remembers where it has been.

use std::{collections::HashMap, fmt, time::SystemTime};

use crate::{
    history::{Operation, What},
    reference::Reference,
};

/// A set of operations, by their places.
type Places = u128;

/// The replies that no order explains.
#[derive(Debug)]
pub(crate) struct Unexplained {
    operations: Vec<Operation>,
    /// The longest order that explains a part of them, and the key after it.
    longest: Vec<usize>,
    key: Reference,
}

struct Search<'a> {
    operations: &'a [Operation],
    /// All whose reply is known.
    replied: Places,
    /// From which moment on the key's clock showed which time.
    times: Vec<(u64, SystemTime)>,
    visited: HashMap<Places, Vec<Reference>>,
    order: Vec<usize>,
    longest: Vec<usize>,
    key: Reference,
}

/// Looks for an order of these operations on a key that was like this before them.
pub(crate) fn explain(key: &Reference, operations: &[Operation]) -> Result<(), Box<Unexplained>> {
    assert!(operations.len() <= 128, "{} are too many", operations.len());
    let replied = (0..).zip(operations);
    let replied = replied.filter(|(_, operation)| operation.returned != u64::MAX);
    let mut search = Search {
        operations,
        replied: replied.fold(0, |all, (place, _)| all | place_of(place)),
        times: times(key, operations),
        visited: HashMap::new(),
        order: Vec::new(),
        longest: Vec::new(),
        key: key.clone(),
    };
    if search.goes_on(0, key) {
        return Ok(());
    }
    Err(Box::new(Unexplained {
        operations: operations.to_vec(),
        longest: search.longest,
        key: search.key,
    }))
}

const fn place_of(place: usize) -> Places {
    1 << place
}

impl Search<'_> {
    /// Whether the operations that are not yet done can follow.
    fn goes_on(&mut self, done: Places, key: &Reference) -> bool {
        if done & self.replied == self.replied {
            return true;
        }
        let visited = self.visited.entry(done).or_default();
        if visited.contains(key) {
            return false;
        }
        visited.push(key.clone());
        if self.order.len() > self.longest.len() {
            self.longest.clone_from(&self.order);
            self.key = key.clone();
        }
        let open = (0..self.operations.len()).filter(|&place| done & place_of(place) == 0);
        let open: Vec<_> = open.collect();
        let first_return = open.iter().map(|&place| self.operations[place].returned);
        let first_return = first_return.min().unwrap_or(u64::MAX);
        for place in open {
            if self.operations[place].invoked > first_return {
                break;
            }
            for next in self.after(key, place) {
                self.order.push(place);
                if self.goes_on(done | place_of(place), &next) {
                    return true;
                }
                self.order.pop();
            }
        }
        false
    }

    /// What the key may be after this operation; nothing, if that cannot be next.
    fn after(&self, key: &Reference, place: usize) -> Vec<Reference> {
        let operation = &self.operations[place];
        let mut next = key.clone();
        match &operation.what {
            What::Advance(units) => {
                next.advance(*units);
                vec![next]
            }
            What::Call {
                call,
                inspected,
                reply: Some(reply),
                may_be_repeated,
            } => {
                let explains = next.accepts(call, *inspected, reply)
                    || *may_be_repeated && next.has_freed(call, *inspected, reply);
                explains.then_some(next).into_iter().collect()
            }
            // It may have read the clock long before it was done.
            What::Call {
                call,
                inspected,
                reply: None,
                ..
            } => {
                let times = self.times_since(operation.invoked);
                let times = times.filter(|time| *time <= key.now());
                let keys = times.map(|time| {
                    let mut next = key.clone();
                    next.apply_late(call, *inspected, time);
                    next
                });
                // What changes nothing may as well never have been done.
                keys.filter(|next| next != key).collect()
            }
        }
    }

    /// What the clock has shown since then.
    fn times_since(&self, moment: u64) -> impl Iterator<Item = SystemTime> {
        let earlier = self.times.partition_point(|(since, _)| *since <= moment);
        let shown = &self.times[earlier.saturating_sub(1)..];
        shown.iter().map(|(_, time)| *time)
    }
}

fn times(key: &Reference, operations: &[Operation]) -> Vec<(u64, SystemTime)> {
    let mut key = key.clone();
    let mut times = vec![(0, key.now())];
    for operation in operations {
        if let What::Advance(units) = operation.what {
            key.advance(units);
            times.push((operation.invoked, key.now()));
        }
    }
    times
}

impl fmt::Display for Unexplained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "no order explains the replies to these operations:"
        )?;
        for (place, operation) in self.operations.iter().enumerate() {
            let order = self.longest.iter().position(|&done| done == place);
            let order = order.map_or("    ".to_owned(), |order| format!("{order:3}."));
            writeln!(formatter, "  {order} {operation}")?;
        }
        write!(formatter, "after the numbered ones: {:?}", self.key)
    }
}
