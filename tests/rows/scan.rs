//! The comments by which tests name rows: `// proves: other-body-refused, key-list-refused`, above their attributes.

use std::{collections::BTreeSet, fs, path::Path};

/// The list of a store's contract: each of its entries is a test of every store.
const CONTRACT: &str = "crates/idempotency/src/conformance/contract.rs";

/// A test that names the rows it proves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) slug: String,
    pub(crate) test: String,
    /// From the workspace's folder.
    pub(crate) path: String,
}

/// The tests and rows in the Rust files of these folders.
pub(crate) fn proofs(root: &Path, folders: &[&str]) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names: BTreeSet<_> = names.filter_map(|name| name.into_string().ok()).collect();
        for path in names.iter().map(|name| format!("{folder}/{name}")) {
            if root.join(&path).is_dir() {
                proofs.extend(self::proofs(root, &[&path]));
            } else if path.ends_with(".rs") {
                let source = fs::read_to_string(root.join(&path)).expect("a source file");
                proofs.extend(read(&path, &source));
            }
        }
    }
    proofs
}

fn read(path: &str, source: &str) -> Vec<Proof> {
    // A program that must not compile is a test as a whole file.
    let program = path
        .strip_prefix("tests/ui/")
        .filter(|path| path.starts_with("fail/"));
    let (mut proofs, mut named) = (Vec::new(), Vec::<&str>::new());
    for line in source.lines().map(str::trim) {
        named.extend(slugs(line));
        let test = match path {
            CONTRACT => entry(line),
            _ => program.or_else(|| function(line)),
        };
        if let Some(test) = test {
            proofs.extend(named.drain(..).map(|slug| Proof {
                slug: slug.to_owned(),
                test: test.to_owned(),
                path: path.to_owned(),
            }));
        }
    }
    assert!(named.is_empty(), "{path}: no test below {named:?}");
    proofs
}

/// The rows that this line names, if it is a `proves` comment.
fn slugs(line: &str) -> impl Iterator<Item = &str> {
    line.strip_prefix("// proves:")
        .into_iter()
        .flat_map(|slugs| slugs.split(',').map(str::trim))
}

/// A function, or a module that has a test of each entry of the contract.
fn function(line: &str) -> Option<&str> {
    if let Some(module) = line.strip_prefix("mod ") {
        return module.strip_suffix(" {");
    }
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The function of `module::function(store, advance) on 4 threads;`.
fn entry(line: &str) -> Option<&str> {
    let (module, entry) = line.split_once("::")?;
    let is_module = module.bytes().all(|byte| byte.is_ascii_lowercase());
    (is_module && line.ends_with(';')).then(|| entry.split('(').next())?
}

#[test]
fn a_comment_speaks_of_the_test_below_it() {
    let source = "// proves: first-row, second-row\n// proves: third-row\n#[test]\n\
                  async fn one() {}\nfn two() {}\n// It proves: nothing.\n";
    let named = read("a.rs", source);
    let named: Vec<_> = named
        .iter()
        .map(|proof| (proof.slug.as_str(), proof.test.as_str()))
        .collect();
    let expected = [
        ("first-row", "one"),
        ("second-row", "one"),
        ("third-row", "one"),
    ];
    assert_eq!(named, expected);
}

#[test]
fn a_program_is_a_test() {
    let program = read("tests/ui/fail/ttl.rs", "// proves: first-row\n");
    assert_eq!(
        program,
        [("first-row", "fail/ttl.rs")].map(|(slug, test)| Proof {
            slug: slug.to_owned(),
            test: test.to_owned(),
            path: "tests/ui/fail/ttl.rs".to_owned(),
        })
    );
}

#[test]
fn an_entry_of_the_contract_is_a_test() {
    let list = "// proves: first-row\nclaims::one(store, advance) on 4 threads;\n\
                claims::two(store);\n// proves: second-row\ntime::three(store);\n";
    let named = read(CONTRACT, list);
    let named: Vec<_> = named
        .iter()
        .map(|proof| (proof.slug.as_str(), proof.test.as_str()))
        .collect();
    assert_eq!(named, [("first-row", "one"), ("second-row", "three")]);
}

#[test]
#[should_panic(expected = "a.rs: no test below [\"first-row\"]")]
fn a_comment_above_no_test_is_a_mistake() {
    read("a.rs", "// proves: first-row\nstruct One;");
}
