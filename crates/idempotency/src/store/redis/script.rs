//! The steps as scripts that the server runs atomically.

use std::sync::LazyLock;

use redis::{Arg, Cmd};

/// A script that takes one step for each of its keys.
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("record.lua"),
                include_str!($file),
                include_str!("many.lua")
            ))
        })
    };
}

pub(super) static CLAIM: LazyLock<Script> = script!("claim.lua");
pub(super) static WITHDRAW: LazyLock<Script> = script!("withdraw.lua");
pub(super) static RENEW: LazyLock<Script> = script!("renew.lua");
pub(super) static CHECKPOINT: LazyLock<Script> = script!("checkpoint.lua");
pub(super) static SUSPEND: LazyLock<Script> = script!("suspend.lua");
pub(super) static COMPLETE: LazyLock<Script> = script!("complete.lua");
pub(super) static RELEASE: LazyLock<Script> = script!("release.lua");
pub(super) static REPLACE: LazyLock<Script> = script!("replace.lua");
pub(super) static FORGET: LazyLock<Script> = script!("forget.lua");
pub(super) static FIND: LazyLock<Script> = script!("find.lua");

impl Script {
    fn new(code: &'static str) -> Self {
        let digest = redis::Script::new(code).get_hash().to_owned();
        Self { code, digest }
    }

    /// The call by the script's digest, for a server that has run the script before.
    pub(super) fn by_digest(&self, steps: &[Step]) -> Cmd {
        call("EVALSHA", &self.digest, steps)
    }

    /// The call with the script itself. One command loads and runs it, so it cannot be flushed in between.
    pub(super) fn in_full(&self, steps: &[Step]) -> Cmd {
        call("EVAL", self.code, steps)
    }
}

/// A key, and what the step on it has to know.
pub(super) struct Step {
    key: String,
    /// Those of a script, as many for each of its steps.
    arguments: Cmd,
}

impl Step {
    pub(super) fn new(key: String, arguments: &impl Fn(&mut Cmd)) -> Self {
        let mut step = Self {
            key,
            arguments: Cmd::new(),
        };
        arguments(&mut step.arguments);
        step
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// How much it adds to a call.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.arguments().map(<[u8]>::len).sum::<usize>()
    }

    fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.arguments
            .args_iter()
            .filter_map(|argument| match argument {
                Arg::Simple(bytes) => Some(bytes),
                // Of SCAN only.
                _ => None,
            })
    }
}

fn call(name: &str, script: &str, steps: &[Step]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(steps.len());
    for step in steps {
        command.arg(&step.key);
    }
    for argument in steps.iter().flat_map(Step::arguments) {
        command.arg(argument);
    }
    command
}
