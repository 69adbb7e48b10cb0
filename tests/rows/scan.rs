//! The comments by which tests name rows: `// behaviour 47, 48` and `// race 8`, above their attributes.

use std::{collections::BTreeSet, fs, path::Path};

/// A test that says it proves a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) row: usize,
    pub(crate) test: String,
    /// From the workspace's folder.
    pub(crate) path: String,
}

/// What the Rust files of these folders say behind this word, file by file.
pub(crate) fn proofs(root: &Path, folders: &[&str], word: &str) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names: BTreeSet<_> = names.filter_map(|name| name.into_string().ok()).collect();
        for path in names.iter().map(|name| format!("{folder}/{name}")) {
            if root.join(&path).is_dir() {
                proofs.extend(self::proofs(root, &[&path], word));
            } else if path.ends_with(".rs") {
                let source = fs::read_to_string(root.join(&path)).expect("a source file");
                proofs.extend(read(&path, &source, word));
            }
        }
    }
    proofs
}

fn read(path: &str, source: &str, word: &str) -> Vec<Proof> {
    // Of a program that shall compile, or shall not, the file is the test.
    let program = path
        .strip_prefix("tests/ui/")
        .filter(|path| path.starts_with("pass/") || path.starts_with("fail/"));
    let (mut proofs, mut named) = (Vec::new(), Vec::new());
    for line in source.lines().map(str::trim) {
        named.extend(rows(line, word).map(|row| -> usize {
            let row = row.trim().parse();
            row.unwrap_or_else(|_| panic!("{path}: not a list of rows: {line}"))
        }));
        if let Some(test) = program.or_else(|| function(line)) {
            proofs.extend(named.drain(..).map(|row| Proof {
                row,
                test: test.to_owned(),
                path: path.to_owned(),
            }));
        }
    }
    assert_eq!(named, [], "{path}: no test below these rows");
    proofs
}

/// The rows that this line names, if it is such a comment and not prose.
fn rows<'a>(line: &'a str, word: &str) -> impl Iterator<Item = &'a str> {
    line.strip_prefix("// ")
        .and_then(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .filter(|rows| rows.starts_with(|first: char| first.is_ascii_digit()))
        .into_iter()
        .flat_map(|rows| rows.split(','))
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[test]
fn a_comment_speaks_of_the_test_below_it() {
    let source =
        "// race 1, 2\n// race 3\n#[test]\nasync fn one() {}\nfn two() {}\n// race of two\n";
    let named = read("a.rs", source, "race");
    let named: Vec<_> = named
        .iter()
        .map(|proof| (proof.row, proof.test.as_str()))
        .collect();
    assert_eq!(named, [(1, "one"), (2, "one"), (3, "one")]);
    assert_eq!(read("a.rs", source, "behaviour"), []);
    let program = read("tests/ui/fail/ttl.rs", "// behaviour 115\n", "behaviour");
    assert_eq!(program[0].test, "fail/ttl.rs");
}

#[test]
#[should_panic(expected = "a.rs: not a list of rows: // race 3, 4x")]
fn a_comment_that_names_no_row_is_a_mistake() {
    read("a.rs", "// race 3, 4x\nfn one() {}", "race");
}

#[test]
#[should_panic(expected = "a.rs: no test below these rows")]
fn a_comment_above_no_test_is_a_mistake() {
    read("a.rs", "// race 3\nstruct One;", "race");
}
