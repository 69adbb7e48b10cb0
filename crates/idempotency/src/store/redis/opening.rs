//! Checks the server when the store opens: what it is, what this user may do, and whether it may drop records.

use redis::{Value, from_redis_value};

use super::{RedisStoreError, error::says, server::Server};
use crate::log_text::Causes;

/// The first version on which the store is tested.
const OLDEST: (u32, u32) = (6, 2);

/// Refuses a server on which some step would always fail, and logs a warning if it may drop records before their time.
/// What the server does not report is assumed to be in order.
pub(super) async fn check(server: &Server) -> Result<(), RedisStoreError> {
    let infos = match server.ask_all(&redis::cmd("INFO")).await {
        Ok(infos) => infos,
        Err(error) if is_refusal(&error) => {
            tracing::debug!(error = %Causes(&error), "Redis does not report its version and role");
            Vec::new()
        }
        Err(error) => return Err(RedisStoreError::connect(error)),
    };
    for info in infos.iter().filter_map(text) {
        let line = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        if let Some(version) = line("redis_version")
            && is_too_old(version)
        {
            return Err(RedisStoreError::Version(version.into()));
        }
        let is_single = matches!(server, Server::One(_));
        // Valkey uses another name for it.
        let mode = line("redis_mode").or_else(|| line("server_mode"));
        if is_single && mode == Some("cluster") {
            return Err(RedisStoreError::NodeOfCluster);
        }
        if mode == Some("standalone") {
            server.note_standalone();
        }
        if is_single && line("role") == Some("slave") {
            return Err(RedisStoreError::Replica);
        }
        if let Some(policy) = line("maxmemory_policy")
            && policy != "noeviction"
        {
            tracing::warn!(
                policy,
                "when its memory is full, Redis drops keys before their time, and their requests run again; \
                 set maxmemory-policy to noeviction",
            );
        }
    }
    check_rights(server).await
}

/// Runs each command once that the steps need. The prefix is not known yet, so a user who may not use this key is
/// accepted.
pub(super) async fn check_rights(server: &Server) -> Result<(), RedisStoreError> {
    let mut eval = redis::cmd("EVAL");
    eval.arg(include_str!("probe.lua")).arg(0);
    let probed = server.ask_all(&eval).await;
    for reply in probed.map_err(|error| refused("EVAL", error))? {
        let reply: Vec<String> = from_redis_value(reply)
            .map_err(|error| RedisStoreError::connect(redis::RedisError::from(error)))?;
        for pair in reply.chunks_exact(2) {
            let (command, refusal) = (&pair[0], &pair[1]);
            if is_missing_right(refusal) {
                return Err(RedisStoreError::Right(command.as_str().into()));
            }
            if refusal.contains("READONLY") {
                return Err(RedisStoreError::Replica);
            }
        }
    }
    // No script has this digest: the server says so, unless it refuses the command itself.
    let mut by_digest = redis::cmd("EVALSHA");
    by_digest.arg("0".repeat(40)).arg(0);
    match server.ask_all(&by_digest).await {
        Err(error) if !says(&error, "NOSCRIPT") => Err(refused("EVALSHA", error)),
        _ => Ok(()),
    }
}

fn refused(command: &str, error: redis::RedisError) -> RedisStoreError {
    if error.detail().is_some_and(is_missing_right) {
        RedisStoreError::Right(command.into())
    } else {
        RedisStoreError::connect(error)
    }
}

/// Whether the user may not run a command, in the words of each version, both outside of scripts and in them.
fn is_missing_right(refusal: &str) -> bool {
    ["permissions to run", "can't run this command"]
        .iter()
        .any(|said| refusal.contains(said))
}

pub(super) fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    (major, minor) < OLDEST
}

pub(super) fn text(info: &Value) -> Option<&str> {
    match info {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Managed servers and users with few rights may not ask.
pub(super) fn is_refusal(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}
