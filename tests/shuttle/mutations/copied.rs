//! A copy of the workspace, in which faults are made.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::table::Mutation;

/// The library's source, from the workspace's folder.
pub(crate) const SOURCE: &str = "crates/idempotency/src";

/// The copy, with a target folder of its own that stays for the next time.
pub(crate) struct Copied {
    root: PathBuf,
    pub(crate) tree: PathBuf,
    pub(crate) target: PathBuf,
}

impl Copied {
    /// Copies the files that git knows, as they are now.
    pub(crate) fn of(root: &Path) -> Result<Self, Box<dyn Error>> {
        let folder = root.join("target/tests/mutations");
        let copied = Self {
            root: root.to_owned(),
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        if copied.tree.exists() {
            fs::remove_dir_all(&copied.tree)?;
        }
        let mut git = Command::new("git");
        git.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let listed = git.current_dir(root).output()?;
        if !listed.status.success() {
            return Err("git does not list the files of the workspace".into());
        }
        for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            // Those of a folder that is a link, and those that were removed, are not there.
            if root.join(path).is_file() {
                copied.copy(Path::new(path))?;
            }
        }
        Ok(copied)
    }

    /// Makes a fault.
    pub(crate) fn mutate(&self, mutation: &Mutation) -> io::Result<()> {
        let path = Path::new(SOURCE).join(mutation.file);
        let source = fs::read_to_string(self.root.join(&path))?;
        let mutated = source.replacen(mutation.find, mutation.replace, 1);
        assert_ne!(source, mutated, "{} has no place", mutation.name);
        fs::write(self.tree.join(path), mutated)
    }

    /// Makes it good.
    pub(crate) fn restore(&self, mutation: &Mutation) -> io::Result<()> {
        let path = Path::new(SOURCE).join(mutation.file);
        fs::write(self.tree.join(&path), fs::read(self.root.join(&path))?)
    }

    fn copy(&self, path: &Path) -> io::Result<()> {
        let to = self.tree.join(path);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(self.root.join(path), to).map(drop)
    }
}
