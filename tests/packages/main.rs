//! What the packages promise: the compiler that they need, and what is in them.

mod contents;
mod cryptography;
mod versions;

use std::{env, path::Path, process::Command};

use serde_json::Value;

/// What cargo prints, asked for without a network and without another lock file.
fn cargo(arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).args(["--offline", "--locked"]);
    command.current_dir(root.expect("a workspace"));
    let output = command.output().expect("cargo");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

/// All packages of the workspace's build, with what their manifests say.
fn packages() -> Vec<Value> {
    let all = ["metadata", "--format-version", "1", "--all-features"];
    let metadata: Value = serde_json::from_str(&cargo(&all)).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The features of the library, except the default ones.
fn features(packages: &[Value]) -> Vec<&str> {
    let library = packages.iter().find(|it| it["name"] == "idempotency");
    let features = library.expect("the library")["features"].as_object();
    let mut names: Vec<_> = features.expect("features").keys().collect();
    // One whose name begins like this is for this library's own tests.
    names.retain(|name| *name != "default" && !name.starts_with("__"));
    assert!(names.len() >= 8, "only {names:?}");
    names.into_iter().map(String::as_str).collect()
}

/// The names and versions of the packages in this selection, on every platform, perhaps with repetitions.
fn built_of(name: &str, features: &[&str]) -> Vec<(String, String)> {
    let mut arguments = vec!["tree", "--package", name, "--no-default-features"];
    arguments.extend(["--edges", "no-dev", "--target", "all", "--prefix", "none"]);
    arguments.extend(["--format", "{p}"]);
    arguments.extend(features);
    let tree = cargo(&arguments);
    let lines = tree.lines().filter(|line| !line.is_empty());
    let package = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next().expect("a name");
        let version = words.next().expect("a version");
        let version = version.strip_prefix('v').expect("a version").to_owned();
        (name, version)
    };
    lines.map(package).collect()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field]
        .as_str()
        .unwrap_or_else(|| panic!("{}: no {field}", package["name"]))
}

/// Those that are published from this workspace.
fn published() -> Vec<Value> {
    let mut packages = packages();
    packages.retain(|package| package["source"].is_null() && package["publish"].is_null());
    assert_eq!(packages.len(), 3, "idempotency, its macro and core-api");
    packages
}

fn readme() -> &'static str {
    include_str!("../../README.md")
}
