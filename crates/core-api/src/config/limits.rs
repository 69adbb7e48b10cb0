//! The options that limit what clients may use.

use std::time::Duration;

use clap::Args;

/// The limits for clients.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// The greatest number of concurrent connections, 1 to 100000. Further clients wait until one is closed. Each uses a file
    /// descriptor, of which a process usually has 1024.
    #[arg(
        long,
        env = "CORE_API_MAX_CONNECTIONS",
        value_name = "NUMBER",
        default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub max_connections: u32,

    /// The longest head of a request in bytes, 8192 to 1048576. A longer one gets 431. HTTP/2 counts 32 bytes more for each header field.
    #[arg(
        long,
        env = "CORE_API_MAX_HEADER_BYTES",
        value_name = "BYTES",
        default_value_t = 32_768,
        value_parser = clap::value_parser!(u32).range(8192..=1_048_576)
    )]
    pub max_header_bytes: u32,

    /// The longest body of a request in bytes, 1024 to 1048576. A longer one gets 413. An operator's request to resolve a key may be longer, because
    /// it contains a response.
    #[arg(
        long,
        env = "CORE_API_MAX_BODY_BYTES",
        value_name = "BYTES",
        default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(1024..=1_048_576)
    )]
    pub max_body_bytes: u32,

    /// How many new idempotency keys a subject may use in a minute, 1 to 1000000. Above that a request gets 429 with
    /// Retry-After, and nothing is stored for it. Keys that were used before still get their responses, and other subjects
    /// are not affected. Without the option there is no limit.
    ///
    /// The process counts, wherever keys are stored, and starts from zero: several services allow as many keys each.
    /// Without --tokens, callers are distinguished by Authorization or an API key, and all who send neither count as one.
    #[arg(
        long,
        env = "CORE_API_MAX_NEW_KEYS_PER_MINUTE",
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub max_new_keys_per_minute: Option<u32>,

    /// How many live keys a subject may have, 1 to 100000000: those whose requests run, and those whose responses are stored and have
    /// not expired. Above that a request gets 429 with Retry-After. They are counted like --max-new-keys-per-minute.
    #[arg(
        long,
        env = "CORE_API_MAX_LIVE_KEYS",
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=100_000_000)
    )]
    pub max_live_keys: Option<u32>,

    /// How many seconds a connection may be idle, and the head of a request may take, 5 to 3600. A proxy in front must keep idle
    /// connections for less, so that it never uses one that is being closed.
    #[arg(
        long,
        env = "CORE_API_IDLE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds::<5, 3600>
    )]
    pub idle_timeout: Duration,

    /// How many seconds the body of a request may take to arrive, 1 to 3600. A slower one gets 400, and no handler runs.
    #[arg(
        long,
        env = "CORE_API_BODY_TIMEOUT",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds::<1, 3600>
    )]
    pub body_timeout: Duration,

    /// How many seconds requests under way have to end when the service is asked to stop, 1 to 3600. The others are then cut off.
    /// An orchestrator must wait longer than this before it kills the service.
    #[arg(
        long,
        env = "CORE_API_STOP_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds::<1, 3600>
    )]
    pub stop_timeout: Duration,
}

fn seconds<const LEAST: u64, const MOST: u64>(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (LEAST..=MOST).contains(seconds));
    let expected = || format!("expected a number of seconds from {LEAST} to {MOST}");
    seconds.map(Duration::from_secs).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::config::Config;

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_with_its_name() {
        for (option, value) in [
            ("--max-connections", "0"),
            ("--max-connections", "many"),
            ("--max-header-bytes", "100"),
            ("--max-body-bytes", "64KiB"),
            ("--max-body-bytes", "1048577"),
            ("--max-new-keys-per-minute", "0"),
            ("--max-live-keys", "none"),
            ("--idle-timeout", "0"),
            ("--idle-timeout", "1m"),
            ("--body-timeout", "0"),
            ("--stop-timeout", "-1"),
            ("--stop-timeout", "3601"),
        ] {
            let argument = format!("{option}={value}");
            let error = Config::try_parse_from(["core-api", &argument]).unwrap_err();
            assert!(error.to_string().contains(option), "{argument}: {error}");
        }
    }
}
