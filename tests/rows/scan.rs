//! The comments by which tests name rows: `// behaviour 47, 48` and `// race 8`, above their attributes.

use std::{fs, path::Path};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Behaviour,
    Race,
}

/// A test that says it proves a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) list: List,
    pub(crate) row: usize,
    pub(crate) test: String,
    /// From the workspace's folder.
    pub(crate) path: String,
}

/// What all Rust files of the workspace say, in the order of their paths; and comments that say nothing.
pub(crate) fn proofs(root: &Path) -> (Vec<Proof>, Vec<String>) {
    let mut paths = Vec::new();
    for folder in ["crates", "tests"] {
        find(root, folder, &mut paths);
    }
    let (mut proofs, mut mistakes) = (Vec::new(), Vec::new());
    for path in paths {
        let source = fs::read_to_string(root.join(&path)).expect("a source file");
        match read(&path, &source) {
            Ok(read) => proofs.extend(read),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (proofs, mistakes)
}

fn find(root: &Path, folder: &str, paths: &mut Vec<String>) {
    let mut names: Vec<_> = fs::read_dir(root.join(folder))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .collect();
    names.sort_unstable();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            find(root, &path, paths);
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
}

fn read(path: &str, source: &str) -> Result<Vec<Proof>, String> {
    // Of a program that shall compile, or shall not, the file is the test.
    let program = path
        .strip_prefix("tests/ui/")
        .and_then(|path| path.strip_suffix(".rs"));
    let (mut proofs, mut named) = (Vec::new(), Vec::new());
    for line in source.lines().map(str::trim) {
        if let Some((list, rows)) = comment(line) {
            for row in rows.split(',') {
                let row = row
                    .trim()
                    .parse()
                    .map_err(|_| format!("{path}: not a list of rows: {line}"))?;
                named.push((list, row));
            }
        }
        if let Some(test) = program.or_else(|| function(line)) {
            proofs.extend(named.drain(..).map(|(list, row)| Proof {
                list,
                row,
                test: test.to_owned(),
                path: path.to_owned(),
            }));
        }
    }
    match named.first() {
        None => Ok(proofs),
        Some((_, row)) => Err(format!(
            "{path}: no test below the comment that names row {row}"
        )),
    }
}

fn comment(line: &str) -> Option<(List, &str)> {
    let (list, rows) = match line.strip_prefix("// behaviour ") {
        Some(rows) => (List::Behaviour, rows),
        None => (List::Race, line.strip_prefix("// race ")?),
    };
    rows.starts_with(|first: char| first.is_ascii_digit())
        .then_some((list, rows))
}

fn function(line: &str) -> Option<&str> {
    let (_, name) = line
        .strip_prefix("async ")
        .unwrap_or(line)
        .split_once("fn ")
        .filter(|(before, _)| before.is_empty())?;
    name.split(['(', '<']).next()
}

#[test]
fn a_comment_speaks_of_the_test_below_it() {
    let source =
        "// behaviour 1, 2\n// race 3\n#[test]\nasync fn one() {}\nfn two(\n// behaviour of two\n";
    let proof = |list, row| Proof {
        list,
        row,
        test: "one".into(),
        path: "a.rs".into(),
    };
    assert_eq!(
        read("a.rs", source),
        Ok(vec![
            proof(List::Behaviour, 1),
            proof(List::Behaviour, 2),
            proof(List::Race, 3)
        ])
    );
    let program = read("tests/ui/fail/ttl.rs", "// behaviour 115\n").expect("a program");
    assert_eq!(program[0].test, "fail/ttl");
    assert!(read("a.rs", "// race 3, 4x\nfn one() {}").is_err());
    assert!(read("a.rs", "// race 3\nstruct One;").is_err());
}
