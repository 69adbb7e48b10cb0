//! Which module of the crate uses which: there is no circle, so each can be read without those above it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_circle_of_modules() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(source.join("lib.rs")).expect("lib.rs");
    let mut uses = Uses::new();
    for module in modules(&root) {
        let file = fs::read_to_string(source.join(format!("{module}.rs"))).expect("a module");
        let mut used = used(&file, &root);
        used_in(&source.join(&module), &root, &mut used);
        used.remove(&module);
        uses.insert(module, used);
    }
    assert!(uses["web"].contains("execution"), "{uses:?}");
    assert!(uses["execution"].contains("engine"), "{uses:?}");
    assert!(uses["engine"].contains("store"), "{uses:?}");
    // What uses nothing that is left is a leaf, and goes; a circle stays.
    while let Some(leaf) = uses
        .iter()
        .find_map(|(module, used)| used.is_empty().then(|| module.clone()))
    {
        uses.remove(&leaf);
        for used in uses.values_mut() {
            used.remove(&leaf);
        }
    }
    assert!(uses.is_empty(), "a circle, and what is above it: {uses:#?}");
}

/// The names of the root's modules.
fn modules(root: &str) -> impl Iterator<Item = String> {
    let lines = root.lines().map(|line| line.trim_start_matches("pub "));
    lines.filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned()))
}

fn used_in(folder: &Path, root: &str, used_so_far: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            used_in(&path, root, used_so_far);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = fs::read_to_string(&path).expect("a source file");
            used_so_far.extend(used(&file, root));
        }
    }
}

/// The modules that stand behind the names which this file takes from the crate.
fn used(file: &str, root: &str) -> BTreeSet<String> {
    let code: Vec<_> = file
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join(" ");
    let mut used = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let names = match path.strip_prefix('{') {
            Some(names) => outer(names),
            None => vec![name(path)],
        };
        used.extend(names.into_iter().map(|name| module_of(name, root)));
    }
    used
}

/// The first names of what stands between these braces.
fn outer(names: &str) -> Vec<&str> {
    let (mut depth, mut begins, mut found) = (0, 0, Vec::new());
    for (at, character) in names.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(name(names[begins..at].trim_start()));
                begins = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn name(path: &str) -> &str {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    path.split(|character| !is_part(character))
        .next()
        .unwrap_or_default()
}

/// The module from which the root has this name, or which has it itself.
fn module_of(name: &str, root: &str) -> String {
    let exported = root.lines().find_map(|line| {
        let path = line.strip_prefix("pub use ")?.strip_suffix(';')?;
        let (module, exported) = path.split_once("::")?;
        (exported == name).then(|| module.to_owned())
    });
    exported.unwrap_or_else(|| name.to_owned())
}
