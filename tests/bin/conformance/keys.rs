//! The keys of one rule: fresh ones for each rule, so that no rule sees another's.

use std::{cell::RefCell, collections::BTreeMap};

use serde::Deserialize;
use uuid::Uuid;

/// What kind of key a dialect wants.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyKind {
    Uuid4,
    Uuid7,
}

/// The keys of a rule, by the letters that its steps call them by.
#[derive(Debug)]
pub(crate) struct Keys {
    kind: KeyKind,
    made: RefCell<BTreeMap<String, String>>,
}

impl Keys {
    pub(crate) fn new(kind: KeyKind) -> Self {
        Self {
            kind,
            made: RefCell::default(),
        }
    }

    /// The key of this letter: the same one each time.
    pub(crate) fn get(&self, letter: &str) -> String {
        let mut made = self.made.borrow_mut();
        let key = made.entry(letter.to_owned());
        key.or_insert_with(|| fresh(self.kind)).clone()
    }
}

fn fresh(kind: KeyKind) -> String {
    let uuid = match kind {
        KeyKind::Uuid4 => Uuid::new_v4(),
        KeyKind::Uuid7 => Uuid::now_v7(),
    };
    uuid.to_string()
}
