//! A look at the server's eviction policy, before it matters.

use redis::{RedisError, Value};

use super::server::Server;
use crate::log_text::Causes;

/// Logs a warning if the server may drop records before their time. A server that does not say is left in peace; one that
/// cannot be reached is an error.
pub(super) async fn check(server: &Server) -> Result<(), RedisError> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    let answers = match server.ask_all(info).await {
        Ok(answers) => answers,
        Err(error) if is_refusal(&error) => {
            tracing::debug!(
                error = %Causes(&error),
                "Redis does not tell its maxmemory-policy",
            );
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for policy in answers.iter().filter_map(policy) {
        if policy != "noeviction" {
            tracing::warn!(
                policy,
                "when its memory is full, Redis drops keys before their time, and their requests run again; \
                 set maxmemory-policy to noeviction",
            );
        }
    }
    Ok(())
}

fn policy(info: &Value) -> Option<&str> {
    let text = match info {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    text.lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"))
}

/// Managed servers and users with few rights may not ask.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}
