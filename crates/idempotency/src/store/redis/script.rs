//! The steps as scripts that the server runs atomically.

use std::sync::LazyLock;

use redis::Cmd;

/// A script that uses one key.
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("record.lua"), include_str!($file))))
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
    pub(super) fn by_digest(&self, key: &str, arguments: &impl Fn(&mut Cmd)) -> Cmd {
        call("EVALSHA", &self.digest, key, arguments)
    }

    /// The call with the script itself. One command loads and runs it, so it cannot be flushed in between.
    pub(super) fn in_full(&self, key: &str, arguments: &impl Fn(&mut Cmd)) -> Cmd {
        call("EVAL", self.code, key, arguments)
    }
}

fn call(name: &str, script: &str, key: &str, arguments: &impl Fn(&mut Cmd)) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key);
    arguments(&mut command);
    command
}
