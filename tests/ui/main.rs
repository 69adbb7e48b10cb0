//! The compiler's messages for code that the attribute does not accept. See README.md next to this file.

use std::{
    io::{self, Write},
    process::Command,
};

/// The compiler whose words are in `fail/*.stderr`.
const COMPILER: &str = "rustc 1.95.";

// proves: bad-ttl-does-not-compile
#[test]
fn every_mistake_is_one_error_where_it_was_made() {
    let version = compiler();
    if !version.starts_with(COMPILER) {
        assert!(
            std::env::var_os("CI").is_none(),
            "the expected errors are those of {COMPILER}x, and CI has {version}: rewrite them, as CONTRIBUTING.md says"
        );
        // Not by a macro: the harness hides what those print in a test that passes.
        let _ = writeln!(
            io::stderr(),
            "SKIPPED ui/fail: the expected errors are those of {COMPILER}x, and this is {version}"
        );
        return;
    }
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}

#[test]
fn what_only_a_program_of_its_own_shows_compiles() {
    trybuild::TestCases::new().pass("pass/*.rs");
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("rustc runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
