//! A test program that is built of the copy.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::{AtomicUsize, Ordering},
};

/// It is removed when this is dropped.
pub(crate) struct Program(PathBuf);

impl Program {
    /// Builds it, and takes it out of the build's folder, so that it can run while the next one is built.
    pub(crate) fn build(name: &'static str, tree: &Path, target: &Path) -> io::Result<Self> {
        static BUILT: AtomicUsize = AtomicUsize::new(0);
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(cargo);
        cargo.args(["test", "--package", "shuttled", "--test", name]);
        cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
        // Building takes longer than running until a test fails. Without optimisation it takes a tenth of the time.
        for package in ["shuttled", "shuttled-idempotency"] {
            let option = format!("profile.dev.package.{package}.opt-level=0");
            cargo.args(["--config", &option]);
        }
        cargo.current_dir(tree).env("CARGO_TARGET_DIR", target);
        let built = cargo.output()?;
        let report = String::from_utf8_lossy(&built.stdout);
        let mut executables = report.lines().filter_map(executable);
        let Some(executable) = executables.next_back().filter(|_| built.status.success()) else {
            let message = String::from_utf8_lossy(&built.stderr).into_owned();
            return Err(io::Error::other(format!("it does not compile:\n{message}")));
        };
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let program = tree.with_extension(format!("{name}-{number}"));
        fs::rename(executable, &program)?;
        Ok(Self(program))
    }

    /// Those of the tests that fail, or of all tests.
    pub(crate) fn failures(&self, tests: &[&str]) -> io::Result<Vec<String>> {
        let mut program = Command::new(&self.0);
        if !tests.is_empty() {
            program.arg("--exact").args(tests);
        }
        let ran = program.env_remove("SHUTTLE_REPLAY").output()?;
        let report = String::from_utf8_lossy(&ran.stdout).into_owned();
        let failed = report.lines().filter_map(|line| {
            let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
            Some(test.to_owned())
        });
        let mut failed: Vec<_> = failed.collect();
        if failed.is_empty() && !ran.status.success() {
            failed.push(ended(ran.status, tests));
        }
        Ok(failed)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// A stack overflow, for example, ends the whole program. If it had one test to run, it is that one which fails.
fn ended(status: ExitStatus, tests: &[&str]) -> String {
    match tests {
        [only] => (*only).to_owned(),
        _ => status.to_string(),
    }
}

/// The path in one of cargo's messages.
fn executable(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(message["executable"].as_str()?.to_owned())
}
