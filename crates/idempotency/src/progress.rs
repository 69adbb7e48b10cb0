//! What a run has done so far, as the engine stores it in the run's record.

use bytes::{Buf, BufMut, Bytes};

use crate::store::StoreError;

/// The completed steps of a run and their results, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    suspended: Option<Suspended>,
    steps: Vec<(Box<str>, Bytes)>,
}

/// The attempt that ended in an orderly way without a response, so that the next attempt knows that its outcome is not
/// in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspended {
    /// The attempt with this number. It does not apply to a later attempt, which therefore need not clear it.
    Attempt(u32),
    /// An attempt recorded by version 1, which had no number.
    Unnamed,
}

/// A reader that meets an unknown version returns an error: repeating a completed step is worse than not running.
const VERSION: u8 = 2;

impl Progress {
    /// Empty bytes mean no steps.
    pub fn read(mut bytes: Bytes) -> Result<Self, StoreError> {
        let mut progress = Self::default();
        if bytes.is_empty() {
            return Ok(progress);
        }
        progress.suspended = match bytes.try_get_u8().map_err(damaged)? {
            1 => match bytes.try_get_u8().map_err(damaged)? {
                0 => None,
                1 => Some(Suspended::Unnamed),
                _ => return Err(damaged("the steps are damaged")),
            },
            VERSION => match bytes.try_get_u32().map_err(damaged)? {
                0 => None,
                attempt => Some(Suspended::Attempt(attempt)),
            },
            _ => return Err(damaged("another version of this library wrote the steps")),
        };
        while bytes.has_remaining() {
            let name = take(&mut bytes)?;
            let name = str::from_utf8(&name).map_err(damaged)?.into();
            progress.steps.push((name, take(&mut bytes)?));
        }
        Ok(progress)
    }

    /// No steps are written as empty bytes.
    pub fn write(&self) -> Bytes {
        let suspended = match self.suspended {
            Some(Suspended::Attempt(attempt)) => attempt,
            Some(Suspended::Unnamed) => unreachable!("progress that is written names its attempt"),
            None if self.steps.is_empty() => return Bytes::new(),
            None => 0,
        };
        let length = |(name, result): &(Box<str>, Bytes)| 8 + name.len() + result.len();
        let mut bytes = Vec::with_capacity(5 + self.steps.iter().map(length).sum::<usize>());
        bytes.put_u8(VERSION);
        bytes.put_u32(suspended);
        for (name, result) in &self.steps {
            put(&mut bytes, name.as_bytes());
            put(&mut bytes, result);
        }
        bytes.into()
    }

    /// Whether the attempt with this number, the latest so far, has suspended itself.
    pub fn is_suspended(&self, attempt: u32) -> bool {
        match self.suspended {
            Some(Suspended::Attempt(suspended)) => suspended == attempt,
            Some(Suspended::Unnamed) => true,
            None => false,
        }
    }

    /// The bytes that the attempt with this number stores when it suspends itself.
    pub fn suspended_by(&self, attempt: u32) -> Bytes {
        let suspended = Self {
            suspended: Some(Suspended::Attempt(attempt)),
            steps: self.steps.clone(),
        };
        suspended.write()
    }

    /// Removes the note that an attempt has suspended itself.
    pub fn resume(&mut self) {
        self.suspended = None;
    }

    /// Gives a suspended attempt of version 1 its number. Returns whether there was one.
    pub fn name_attempt(&mut self, attempt: u32) -> bool {
        let is_unnamed = self.suspended == Some(Suspended::Unnamed);
        if is_unnamed {
            self.suspended = Some(Suspended::Attempt(attempt));
        }
        is_unnamed
    }

    /// The result of the step with this name, if it is completed.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let step = self.steps.iter().find(|(done, _)| **done == *name);
        step.map(|(_, result)| result)
    }

    /// Adds a step that is completed.
    pub fn push(&mut self, name: &str, result: Bytes) {
        self.steps.push((name.into(), result));
    }

    pub(crate) fn pop(&mut self) {
        self.steps.pop();
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.put_u32(u32::try_from(part.len()).expect("a store holds less than four gigabytes"));
    bytes.put_slice(part);
}

fn take(bytes: &mut Bytes) -> Result<Bytes, StoreError> {
    let length = bytes.try_get_u32().map_err(damaged)? as usize;
    if bytes.remaining() < length {
        Err(damaged("the steps end too early"))
    } else {
        Ok(bytes.split_to(length))
    }
}

fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::unreadable(source)
}
