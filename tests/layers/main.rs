//! Modules of a crate import each other in one direction, so that each can be read with only those below it.

mod imports;

use std::path::Path;

use imports::Crate;

/// A top-level module and those that it may import, each of which has a row above it.
type Layer = (&'static str, &'static [&'static str]);

const CORE_API: &[Layer] = &[
    ("assets", &[]),
    ("booking", &[]),
    ("connections", &[]),
    ("secret", &[]),
    ("sent_token", &[]),
    ("tokens", &["secret"]),
    ("keys", &["secret"]),
    ("config", &["keys", "secret", "tokens"]),
    ("token_new", &["config", "tokens"]),
    ("cors", &["config"]),
    ("traces", &["config"]),
    ("logging", &["config", "traces"]),
    ("progress", &["logging"]),
    ("shutdown", &["logging"]),
    ("supervised", &["logging"]),
    ("supervisor", &["shutdown", "supervised"]),
    ("database", &["booking", "config", "secret"]),
    ("error", &["database"]),
    ("access_log", &["error", "tokens"]),
    ("docs", &["assets", "error"]),
    ("json", &["error"]),
    ("openapi", &["error"]),
    ("reads", &["error"]),
    ("probe", &["database", "error"]),
    (
        "app",
        &["database", "keys", "probe", "supervised", "tokens"],
    ),
    ("caller", &["app", "booking", "error", "keys", "tokens"]),
    ("faults", &["app", "error", "supervised"]),
    ("health", &["app", "error"]),
    ("metrics", &["app", "error"]),
    (
        "admin",
        &[
            "app", "booking", "caller", "database", "error", "keys", "reads", "tokens",
        ],
    ),
    (
        "page",
        &["admin", "app", "assets", "caller", "error", "keys"],
    ),
    (
        "bookings",
        &[
            "app", "booking", "caller", "database", "error", "faults", "json", "keys", "openapi",
        ],
    ),
    (
        "router",
        &[
            "access_log",
            "admin",
            "app",
            "bookings",
            "caller",
            "docs",
            "error",
            "health",
            "metrics",
            "openapi",
            "page",
            "reads",
            "tokens",
            "traces",
        ],
    ),
    (
        "server",
        &[
            "app",
            "bookings",
            "caller",
            "config",
            "connections",
            "cors",
            "database",
            "keys",
            "metrics",
            "probe",
            "router",
            "secret",
            "shutdown",
            "supervised",
            "tokens",
            "traces",
        ],
    ),
    // Only among tests.
    (
        "interrupted",
        &["app", "config", "database", "keys", "probe", "router"],
    ),
    (
        "check_command",
        &[
            "config",
            "database",
            "keys",
            "logging",
            "progress",
            "sent_token",
            "server",
            "tokens",
        ],
    ),
    (
        "keys_command",
        &[
            "config",
            "database",
            "keys",
            "logging",
            "progress",
            "sent_token",
            "server",
            "shutdown",
        ],
    ),
];

const IDEMPOTENCY: &[Layer] = &[
    ("clock", &[]),
    ("fingerprint", &[]),
    ("guide", &[]),
    ("http_rejection", &[]),
    ("key", &["fingerprint"]),
    ("http_config", &["http_rejection", "key"]),
    ("labels", &[]),
    ("log_text", &[]),
    ("random", &[]),
    ("client", &["clock", "fingerprint", "key", "log_text"]),
    ("record", &["fingerprint", "labels", "random"]),
    ("scope", &["fingerprint", "labels"]),
    (
        "store",
        &["clock", "fingerprint", "labels", "log_text", "record"],
    ),
    ("conformance", &["fingerprint", "labels", "record", "store"]),
    ("testing", &["clock", "fingerprint", "store"]),
    ("options", &["fingerprint", "key", "scope", "store"]),
    ("outcome", &["log_text", "store"]),
    ("progress", &["store"]),
    ("rejection", &["store"]),
    (
        "engine",
        &[
            "fingerprint",
            "http_config",
            "key",
            "labels",
            "log_text",
            "options",
            "outcome",
            "progress",
            "random",
            "record",
            "rejection",
            "scope",
            "store",
        ],
    ),
    ("operators", &["engine"]),
    (
        "execution",
        &[
            "engine",
            "fingerprint",
            "log_text",
            "options",
            "outcome",
            "progress",
            "record",
            "store",
        ],
    ),
    (
        "run",
        &[
            "engine",
            "execution",
            "fingerprint",
            "key",
            "log_text",
            "options",
            "outcome",
            "rejection",
            "scope",
            "store",
        ],
    ),
    (
        "web",
        &[
            "engine",
            "execution",
            "fingerprint",
            "http_config",
            "http_rejection",
            "key",
            "key",
            "log_text",
            "operators",
            "options",
            "outcome",
            "record",
            "rejection",
            "scope",
            "store",
        ],
    ),
    ("webhooks", &["key", "key", "options", "scope"]),
    ("dialects", &["http_config", "options"]),
];

#[test]
fn the_modules_of_idempotency_import_only_those_below_them() {
    assert_layers("crates/idempotency/src", IDEMPOTENCY);
}

#[test]
fn the_modules_of_core_api_import_only_those_below_them() {
    assert_layers("crates/core-api/src", CORE_API);
}

/// Fails with everything that contradicts the table.
#[track_caller]
fn assert_layers(folder: &str, layers: &[Layer]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let read = Crate::read(&root.expect("a workspace").join(folder));
    let mistakes = mistakes(&read, layers);
    assert!(mistakes.is_empty(), "{folder}:\n{}\n", mistakes.join("\n"));
}

fn mistakes(read: &Crate, layers: &[Layer]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (row, (module, allowed)) in layers.iter().enumerate() {
        let below = &layers[..row];
        let above = allowed
            .iter()
            .filter(|other| !below.iter().any(|(name, _)| name == *other));
        mistakes.extend(
            above.map(|other| format!("the table: {other} has to have a row above {module}")),
        );
    }
    for module in &read.modules {
        if !layers.iter().any(|(name, _)| name == module) {
            mistakes.push(format!("{module} has no row in the table"));
        }
    }
    for (module, allowed) in layers {
        let imports = read.imports.iter().filter(|import| import.from == *module);
        let forbidden = imports.filter(|import| !allowed.contains(&import.of.as_str()));
        mistakes.extend(forbidden.map(|import| {
            let (path, of) = (&import.path, &import.of);
            format!("{path}: {module} may not import {of}")
        }));
    }
    mistakes.dedup();
    mistakes
}

#[test]
fn an_import_of_a_module_above_is_a_mistake() {
    const LAYERS: &[Layer] = &[("below", &[]), ("above", &["below"])];
    let read = |below: &str, above: &str| {
        let mut read = Crate::new(
            "pub use above::Name;",
            ["above", "below"].map(str::to_owned),
        );
        read.add("below/part.rs", "below", below);
        read.add("above.rs", "above", above);
        mistakes(&read, LAYERS)
    };
    assert!(read("use crate::below::Own;", "use crate::below;").is_empty());
    let mistake = ["below/part.rs: below may not import above"];
    for below in [
        "use crate::above;",
        "use crate::{\n    below,\n    above::{One, Two},\n};",
        "use crate::Name;",
        "fn called() { crate::above::call(); }",
    ] {
        assert_eq!(read(below, ""), mistake, "{below}");
    }
    assert!(read("/// See [`Name`](crate::above::Name).", "").is_empty());
    assert!(read("crate::list!(names);", "").is_empty());
}

#[test]
fn a_table_with_a_circle_or_without_a_module_is_a_mistake() {
    const LAYERS: &[Layer] = &[("below", &["above"]), ("above", &["below"])];
    let read = Crate::new("", ["above", "below", "new"].map(str::to_owned));
    assert_eq!(
        mistakes(&read, LAYERS),
        [
            "the table: above has to have a row above below",
            "new has no row in the table"
        ],
    );
}
