//! What a run has done so far, as the engine writes it into its record.

use bytes::{Buf, BufMut, Bytes};

use crate::StoreError;

/// The steps of a run whose results are kept, in the order in which they were done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether the run has ended, in an orderly way and without an answer: the next attempt need not wonder what has
    /// become of it.
    pub(crate) given_back: bool,
    steps: Vec<(Box<str>, Bytes)>,
}

/// Whoever meets another version answers with an error: to run a step again that is done is worse than not to run.
const VERSION: u8 = 1;

impl Progress {
    /// No bytes are no steps.
    pub(crate) fn read(mut bytes: Bytes) -> Result<Self, StoreError> {
        let mut progress = Self::default();
        if bytes.is_empty() {
            return Ok(progress);
        }
        if bytes.try_get_u8().map_err(damaged)? != VERSION {
            return Err(damaged("another version of this library wrote the steps"));
        }
        progress.given_back = match bytes.try_get_u8().map_err(damaged)? {
            0 => false,
            1 => true,
            _ => return Err(damaged("the steps are damaged")),
        };
        while bytes.has_remaining() {
            let name = take(&mut bytes)?;
            let name = str::from_utf8(&name).map_err(damaged)?.into();
            progress.steps.push((name, take(&mut bytes)?));
        }
        Ok(progress)
    }

    pub(crate) fn write(&self) -> Bytes {
        let length = |(name, result): &(Box<str>, Bytes)| 8 + name.len() + result.len();
        let mut bytes = Vec::with_capacity(2 + self.steps.iter().map(length).sum::<usize>());
        bytes.put_u8(VERSION);
        bytes.put_u8(self.given_back.into());
        for (name, result) in &self.steps {
            put(&mut bytes, name.as_bytes());
            put(&mut bytes, result);
        }
        bytes.into()
    }

    /// The result of the step with this name, if it is done.
    #[cfg(feature = "axum")]
    pub(crate) fn get(&self, name: &str) -> Option<&Bytes> {
        let step = self.steps.iter().find(|(done, _)| **done == *name);
        step.map(|(_, result)| result)
    }

    #[cfg(feature = "axum")]
    pub(crate) fn push(&mut self, name: &str, result: Bytes) {
        self.steps.push((name.into(), result));
    }

    #[cfg(feature = "axum")]
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.put_u32(u32::try_from(part.len()).expect("a store keeps less than four gigabytes"));
    bytes.put_slice(part);
}

fn take(bytes: &mut Bytes) -> Result<Bytes, StoreError> {
    let length = bytes.try_get_u32().map_err(damaged)? as usize;
    match bytes.remaining() < length {
        true => Err(damaged("the steps end too early")),
        false => Ok(bytes.split_to(length)),
    }
}

fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::unreadable(source)
}
