//! What a user gets who downloads a package: nothing in it may need the workspace around it.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{cargo, published, readme, text};

#[test]
fn each_package_has_its_licences_and_a_readme_and_says_what_it_is() {
    for package in published() {
        let name = text(&package, "name");
        let files = listed(name);
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            assert!(files.contains(&file.into()), "{name} has no {file}");
        }
        assert_eq!(text(&package, "readme"), "README.md", "{name}");
        for field in ["description", "license", "rust_version"] {
            assert!(!text(&package, field).is_empty(), "{name}: {field}");
        }
        for field in ["categories", "keywords"] {
            let words = package[field].as_array().expect("a list");
            assert!((1..=5).contains(&words.len()), "{name}: {field}");
        }
    }
}

#[test]
fn no_source_of_a_package_includes_a_file_outside_of_it() {
    let mut seen = 0;
    for package in published() {
        let name = text(&package, "name");
        let (folder, files) = (folder(text(&package, "manifest_path")), listed(name));
        for file in files.iter().filter(|file| has_extension(file, "rs")) {
            let source = fs::read_to_string(folder.join(file)).expect("a source file");
            for included in included(&source) {
                let beside = file.parent().expect("a folder").join(included);
                let inside = normal(&beside);
                let there = inside.is_some_and(|path| files.contains(&path));
                assert!(there, "{name}: {} includes {included}", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "only {seen} included files were found");
}

#[test]
fn a_readme_links_to_nothing_that_is_only_in_the_workspace() {
    for package in published() {
        let path = folder(text(&package, "manifest_path")).join("README.md");
        let page = fs::read_to_string(&path).expect("a readme");
        for link in page.split("](").skip(1) {
            let link = link.split(')').next().expect("a target");
            assert!(link.starts_with("https://"), "{}: {link}", path.display());
        }
    }
}

#[test]
fn a_guide_links_to_nothing_outside_of_its_package() {
    let library = published().into_iter();
    let mut library = library.filter(|package| package["name"] == "idempotency");
    let library = library.next().expect("the library");
    let folder = folder(text(&library, "manifest_path"));
    let mut links = 0;
    for file in listed("idempotency") {
        if !file.starts_with("src") || !has_extension(&file, "md") {
            continue;
        }
        let page = fs::read_to_string(folder.join(&file)).expect("a guide");
        for link in page.split("](").skip(1) {
            let link = link.split(')').next().expect("a target");
            let is_outside = !link.starts_with("https://") && link.contains(['/', '.']);
            assert!(!is_outside, "{}: {link}", file.display());
            links += 1;
        }
    }
    assert!(links >= 50, "only {links} links were found");
}

// Longer text belongs in a guide or on a page of its own.
#[test]
fn the_readme_fits_on_a_page() {
    let (lines, words) = (
        readme().lines().count(),
        readme().split_whitespace().count(),
    );
    assert!(lines <= 110, "{lines} lines");
    assert!(words <= 900, "{words} words");
}

#[test]
fn the_readmes_first_program_uses_nothing_that_its_dependencies_do_not_name() {
    let (_, after) = readme().split_once("[dependencies]").expect("dependencies");
    let (dependencies, after) = after.split_once("```").expect("an end");
    let program = after.split("```").nth(1).expect("a program");
    let uses = program.lines().filter_map(|line| line.strip_prefix("use "));
    let mut crates: Vec<_> = uses.filter_map(|path| path.split("::").next()).collect();
    crates.retain(|name| !matches!(*name, "std" | "core"));
    assert!(crates.len() >= 3, "{crates:?}");
    for name in crates {
        let named = format!("\n{name} = ");
        assert!(dependencies.contains(&named), "{name} is not named");
    }
}

fn listed(package: &str) -> Vec<PathBuf> {
    let list = cargo(&["package", "--list", "--allow-dirty", "--package", package]);
    list.lines().map(PathBuf::from).collect()
}

fn folder(manifest: &str) -> &Path {
    Path::new(manifest).parent().expect("a folder")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// The paths that a source names in `include_str!` and its like, and in `#[path]`.
fn included(source: &str) -> impl Iterator<Item = &str> {
    let words = [
        "include!(\"",
        "include_str!(\"",
        "include_bytes!(\"",
        "#[path = \"",
    ];
    words
        .into_iter()
        .flat_map(|word| source.split(word).skip(1))
        .filter_map(|rest| rest.split('"').next())
}

/// The path without `..`, or `None` where it leads outside.
fn normal(path: &Path) -> Option<PathBuf> {
    path.components().try_fold(PathBuf::new(), |mut to, part| {
        let inside = match part {
            Component::ParentDir => to.pop(),
            part => {
                to.push(part);
                true
            }
        };
        inside.then_some(to)
    })
}
