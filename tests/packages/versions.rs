//! The oldest compiler is computed from a feature's dependencies, because a new version of one can make a stated number false.

use std::collections::HashMap;

use serde_json::Value;

use crate::{built_of, features, packages, readme, text};

/// A version of Rust, without the patch.
type Rust = (u32, u32);

#[test]
fn each_feature_needs_the_rust_that_the_readme_says() {
    let packages = packages();
    let library = packages
        .iter()
        .find(|package| package["name"] == "idempotency")
        .expect("the library");
    for feature in features(&packages) {
        let needed = needed(&packages, "idempotency", &["--features", feature]);
        assert_eq!(stated(feature), needed, "the feature {feature}");
    }

    let bare = needed(&packages, "idempotency", &["--features", ""]);
    assert_eq!(rust(text(library, "rust_version")), bare);
}

#[test]
fn no_package_names_an_older_rust_than_it_needs() {
    let packages = packages();
    for (name, features) in [
        ("core-api", "--all-features"),
        ("idempotent-macro", "--all-features"),
        ("tests", "--all-features"),
    ] {
        let package = packages.iter().find(|package| package["name"] == name);
        let stated = rust(text(package.expect("a package"), "rust_version"));
        assert_eq!(stated, needed(&packages, name, &[features]), "{name}");
    }
}

// sqlx 0.9 and sea-orm 2 link the SQLite of rusqlite 0.39, and others that of 0.40. A program cannot link both.
#[test]
fn sqlite_takes_the_rusqlite_of_its_neighbours() {
    let packages = packages();
    let library = packages
        .iter()
        .find(|package| package["name"] == "idempotency")
        .expect("the library");
    let mut dependencies = library["dependencies"].as_array().expect("a list").iter();
    let rusqlite = dependencies.find(|it| it["name"] == "rusqlite" && it["kind"].is_null());
    assert_eq!(rusqlite.expect("rusqlite")["req"], ">=0.39, <0.41");

    let links = |package: &&Value| package["links"] == "sqlite3";
    assert_eq!(packages.iter().filter(links).count(), 1);
}

/// The greatest `rust-version` of the packages in this selection, on every platform.
fn needed(packages: &[Value], name: &str, features: &[&str]) -> Rust {
    let known: HashMap<_, _> = packages
        .iter()
        .map(|package| ((text(package, "name"), text(package, "version")), package))
        .collect();
    let built_of = built_of(name, features);
    let packages = built_of.iter().map(|(name, version)| {
        let package = known.get(&(name.as_str(), version.as_str()));
        package.unwrap_or_else(|| panic!("{name} {version} is in no metadata"))
    });
    let versions = packages.filter_map(|package| package["rust_version"].as_str());
    versions.map(rust).max().expect("a stated version")
}

/// What the table of README.md says of this feature.
fn stated(feature: &str) -> Rust {
    let (_, table) = readme().split_once("| Features | Rust |").expect("a table");
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let mut row = rows.filter(|line| line.contains(&format!("`{feature}`")));
    let row = row.next().unwrap_or_else(|| panic!("no row of {feature}"));
    rust(row.split('|').nth(2).expect("a second column").trim())
}

fn rust(version: &str) -> Rust {
    let mut parts = version
        .split('.')
        .map(|part| part.parse().expect("a number"));
    let mut part = || parts.next().expect("two numbers");
    (part(), part())
}
