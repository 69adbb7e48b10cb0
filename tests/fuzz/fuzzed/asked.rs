//! Which inputs the functions are given.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    io::{Write, stderr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// What the environment asks for.
pub(crate) enum Asked {
    /// The corpus, and some thousand inputs that are made of it, the same ones each time.
    Usual,
    /// With `FUZZ_SECONDS` or `FUZZ_SEED`.
    Search(Search),
    /// The file of `FUZZ_INPUT`. Bytes that one function is given may be given to each.
    Input(PathBuf),
}

#[derive(Clone, Copy)]
pub(crate) struct Search {
    pub(crate) seed: u64,
    /// Whether the seed is that of an earlier search.
    pub(crate) is_repeated: bool,
    /// Without it, until an input fails.
    pub(crate) time: Option<Duration>,
}

impl Asked {
    pub(crate) fn by_environment() -> Self {
        if let Some(path) = env::var_os("FUZZ_INPUT") {
            return Self::Input(path.into());
        }
        let (seconds, seed) = (variable("FUZZ_SECONDS"), variable("FUZZ_SEED"));
        if seconds.is_none() && seed.is_none() {
            return Self::Usual;
        }
        Self::Search(Search {
            // Below the numbers that a reader would take for noise.
            seed: seed.unwrap_or_else(|| RandomState::new().hash_one(seconds) >> 32),
            is_repeated: seed.is_some(),
            time: seconds.map(Duration::from_secs),
        })
    }
}

/// Shows it at once, and not only if the test fails: the program may end before.
pub(crate) fn say(line: &str) {
    // In one piece, because other tests write at the same time.
    let line = format!("{line}\n");
    stderr()
        .write_all(line.as_bytes())
        .expect("a standard error");
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let value = text.parse().ok();
    assert!(value.is_some(), "{name} is a number, and not {text}");
    value
}
