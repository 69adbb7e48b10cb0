//! What the modules of a crate import from each other, read from their source.

use std::{collections::BTreeMap, fs, path::Path};

/// The top-level modules of a crate, and each import of one by another.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    pub(crate) modules: Vec<String>,
    pub(crate) imports: Vec<Import>,
    /// The module of each name that the root exports.
    exports: BTreeMap<String, String>,
}

/// One import, in a file under `src`.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) path: String,
    pub(crate) from: String,
    pub(crate) of: String,
}

impl Crate {
    /// Reads a folder with a `lib.rs`.
    pub(crate) fn read(src: &Path) -> Self {
        let root = fs::read_to_string(src.join("lib.rs")).expect("a library");
        let mut files = Vec::new();
        list(src, "", &mut files);
        let module = |path: &str| path.split(['/', '.']).next().unwrap_or_default().to_owned();
        files.retain(|path| !matches!(path.as_str(), "lib.rs" | "main.rs"));
        let mut modules: Vec<_> = files.iter().map(|path| module(path)).collect();
        modules.sort();
        modules.dedup();
        let mut read = Self::new(&root, modules);
        for path in files {
            let source = fs::read_to_string(src.join(&path)).expect("a source file");
            read.add(&path, &module(&path), &source);
        }
        read
    }

    /// A crate with this root and these modules, which import nothing yet.
    pub(crate) fn new(root: &str, modules: impl Into<Vec<String>>) -> Self {
        let mut exports = BTreeMap::new();
        for export in code(root).split("pub use ").skip(1) {
            let path = export.split(';').next().unwrap_or_default();
            // A hidden module exports it, and not the root.
            if path.starts_with("crate::") {
                continue;
            }
            let mut names = path.split(|letter: char| !is_name(letter));
            let module = names.next().unwrap_or_default();
            exports.extend(names.map(|name| (name.to_owned(), module.to_owned())));
        }
        Self {
            modules: modules.into(),
            imports: Vec::new(),
            exports,
        }
    }

    /// Adds what a file of a module imports.
    pub(crate) fn add(&mut self, path: &str, from: &str, source: &str) {
        let code = code(source);
        for tree in code.split("crate::").skip(1) {
            // A macro is at the root, wherever its module is.
            let is_macro = tree.trim_start_matches(is_name).starts_with('!');
            for name in heads(tree).into_iter().filter(|_| !is_macro) {
                let of = self.exports.get(name).map_or(name, String::as_str);
                if of != from {
                    self.imports.push(Import {
                        path: path.to_owned(),
                        from: from.to_owned(),
                        of: of.to_owned(),
                    });
                }
            }
        }
    }
}

/// The Rust files in a folder, as paths from `src`.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if name.ends_with(".rs") {
            files.push(format!("{prefix}{name}"));
        }
    }
    files.sort();
}

/// The source without comments, whose links may lead anywhere.
fn code(source: &str) -> String {
    let lines = source.lines();
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The first names of the paths after `crate::`: of `{a, b::{c, d}}` these are `a` and `b`.
fn heads(tree: &str) -> Vec<&str> {
    let Some(group) = tree.strip_prefix('{') else {
        return tree.split(|letter| !is_name(letter)).take(1).collect();
    };
    let (mut heads, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices() {
        if depth == 0 && matches!(letter, ',' | '}') {
            let item = group[start..at].trim();
            heads.extend(item.split(|letter| !is_name(letter)).next());
            start = at + 1;
        }
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

const fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}
