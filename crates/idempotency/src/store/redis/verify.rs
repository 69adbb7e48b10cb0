//! What would go wrong on this server, or on one of these.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::from_redis_value;

use super::{
    opening::{self, text},
    server::Server,
};
use crate::{log_text::Causes, store::Verification};

/// Adds what the servers report. What they do not report has no finding.
pub(super) async fn check(server: &Server, verification: &mut Verification) {
    let infos = match server.ask_all(&redis::cmd("INFO")).await {
        Ok(infos) => {
            verification.ok("reachable", format!("{} responded", servers(infos.len())));
            infos
        }
        Err(error) if opening::is_refusal(&error) => {
            verification.warning(
                "reachable",
                "the server responded, and does not report its settings",
                "give the user the right +info, so that its version, role, eviction and persistence can be checked",
            );
            Vec::new()
        }
        Err(error) => {
            verification.problem(
                "reachable",
                Causes(&error).to_string(),
                "check the URL, the network, and the user's password",
            );
            return;
        }
    };
    let infos: Vec<&str> = infos.iter().filter_map(text).collect();
    if !infos.is_empty() {
        check_server(server, &infos, verification);
        check_memory(&infos, verification);
        check_persistence(&infos, verification);
    }
    match opening::check_rights(server).await {
        Ok(()) => verification.ok(
            "rights",
            "the user may run every command that the steps need",
        ),
        Err(error) => verification.problem(
            "rights",
            Causes(&error).to_string(),
            "give the user the rights that the page of RedisStore lists",
        ),
    }
    check_clock(server, verification).await;
}

fn check_server(server: &Server, infos: &[&str], verification: &mut Verification) {
    let versions: Vec<_> = lines(infos, "redis_version").collect();
    match versions.iter().find(|version| opening::is_too_old(version)) {
        Some(version) => verification.problem(
            "version",
            format!("Redis {version}"),
            "use Redis 6.2 or later, or Valkey",
        ),
        None if versions.is_empty() => {}
        None => verification.ok("version", format!("Redis {}", versions[0])),
    }
    let is_single = matches!(server, Server::One(_));
    if is_single && lines(infos, "role").any(|role| role == "slave") {
        verification.problem(
            "role",
            "the server is a replica",
            "name the primary in the URL",
        );
    } else {
        verification.ok("role", "the server accepts writes");
    }
    // Only a server that has replicas fails over.
    let replicas = lines(infos, "connected_slaves").any(|number| number != "0");
    if replicas {
        verification.warning(
            "failover",
            "replication is asynchronous: a replica that takes over may lack keys that were acknowledged",
            "if a request must never run twice, keep keys in PostgreSQL, Firestore or SQLite",
        );
    }
}

fn check_memory(infos: &[&str], verification: &mut Verification) {
    let mut policies = lines(infos, "maxmemory_policy").peekable();
    if policies.peek().is_none() {
        return;
    }
    match policies.find(|policy| *policy != "noeviction") {
        Some(policy) => verification.warning(
            "eviction",
            format!("maxmemory-policy is {policy}: a full server drops keys before their time, and their requests run again"),
            "set maxmemory-policy to noeviction",
        ),
        None => verification.ok("eviction", "maxmemory-policy is noeviction"),
    }
}

fn check_persistence(infos: &[&str], verification: &mut Verification) {
    const CHECK: &str = "persistence";
    let mut appends = lines(infos, "aof_enabled").peekable();
    if appends.peek().is_none() {
        return;
    }
    if appends.any(|enabled| enabled == "0") {
        verification.warning(
            CHECK,
            "appendonly is off: a crash of the server loses keys that were acknowledged, and their requests run again",
            "set appendonly to yes, and appendfsync to always if the last second counts",
        );
    } else if lines(infos, "aof_last_write_status").any(|status| status != "ok") {
        verification.problem(
            CHECK,
            "the server cannot write its append-only file",
            "look at the server's disk and log: it refuses writes",
        );
    } else {
        verification.ok(
            CHECK,
            "appendonly is on; appendfsync decides whether the last second survives",
        );
    }
}

async fn check_clock(server: &Server, verification: &mut Verification) {
    let mut time = redis::cmd("EVAL");
    time.arg("return redis.call('TIME')").arg(0);
    let before = SystemTime::now();
    let replies = server.ask_all(&time).await;
    let after = SystemTime::now();
    // A server that refuses the script has already failed the check of the rights.
    for reply in replies.into_iter().flatten() {
        let Ok((seconds, micros)) = from_redis_value::<(u64, u64)>(reply) else {
            continue;
        };
        let since = Duration::from_secs(seconds) + Duration::from_micros(micros);
        verification.clock(before, UNIX_EPOCH + since, after);
    }
}

/// This line of each server.
fn lines<'i>(infos: &'i [&'i str], name: &'i str) -> impl Iterator<Item = &'i str> {
    let lines = infos.iter().flat_map(|info| info.lines());
    lines.filter_map(move |line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn servers(number: usize) -> String {
    match number {
        1 => "the server".into(),
        number => format!("{number} servers"),
    }
}
