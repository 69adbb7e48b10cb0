//! Guesses which option the user meant.

use syn::Ident;

use super::OPTIONS;

/// Names that other libraries use for these options.
const SYNONYMS: [(&str, &[&str]); 15] = [
    (
        "ttl_seconds",
        &[
            "ttl",
            "seconds",
            "expires",
            "expires_in",
            "expiry",
            "retention",
            "max_age",
        ],
    ),
    (
        "lease_seconds",
        &[
            "lease",
            "lock",
            "timeout",
            "timeout_seconds",
            "lock_seconds",
        ],
    ),
    ("required", &["mandatory", "require_key", "key_required"]),
    ("transactional", &["transaction", "atomic", "exactly_once"]),
    (
        "on_duplicate",
        &["wait", "conflict", "on_conflict", "duplicates"],
    ),
    (
        "on_lost",
        &["refuse", "lost", "take_over", "on_crash", "on_unknown"],
    ),
    ("keep", &["store", "cache", "all", "keep_all"]),
    ("engine", &["state", "from_state", "idempotency"]),
    (
        "principal",
        &["user", "subject", "claims", "auth", "identity", "extractor"],
    ),
    ("scope", &["tenant", "per"]),
    ("fingerprint", &["hash", "payload", "body"]),
    (
        "key",
        &[
            "key_fn",
            "key_from",
            "key_by",
            "header",
            "header_name",
            "event_key_jmespath",
        ],
    ),
    (
        "options",
        &["preset", "config", "defaults", "webhook", "base"],
    ),
    (
        "replay",
        &["replay_with", "rebuild", "recreate", "on_replay", "respond"],
    ),
    ("crate", &["krate", "crate_path", "path", "library"]),
];

pub(super) fn unknown_option(name: &Ident) -> String {
    match nearest(&name.to_string()) {
        Some(example) => format!("there is no option `{name}`: write `{example}`"),
        None => format!("there is no option `{name}`: {}", all()),
    }
}

pub(super) fn no_option() -> String {
    format!("this is not an option: {}", all())
}

fn all() -> String {
    let names = OPTIONS.map(|(name, _)| format!("`{name}`"));
    format!("the options are {}", names.join(", "))
}

/// How to write the option that was probably meant.
fn nearest(written: &str) -> Option<&'static str> {
    let synonym = SYNONYMS
        .iter()
        .find(|(_, others)| others.contains(&written));
    let (_, example) = match synonym {
        Some((name, _)) => OPTIONS.iter().find(|(option, _)| option == name)?,
        None => {
            OPTIONS
                .iter()
                .map(|option| (distance(written, option.0), option))
                .filter(|(distance, (option, _))| *distance <= option.len() / 3)
                .min_by_key(|(distance, _)| *distance)?
                .1
        }
    };
    Some(example)
}

/// The number of letters that must be added, removed or changed to turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}
