//! Makes one fault after another in a copy of the source, and requires that a test of the schedules or of the model finds it.
//!
//! `cargo run -p shuttled --bin mutations`, with a part of a name for some of them only.

mod copied;
mod table;

use std::{
    env,
    error::Error,
    path::Path,
    process::{Command, ExitCode},
};

use copied::Copied;
use table::MUTATIONS;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let part = env::args().nth(1).unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copied = Copied::of(&root.canonicalize()?)?;
    eprintln!("without a fault…");
    let found = failures(&copied)?;
    if !found.is_empty() {
        return Err(format!("without a fault there are failures: {found:?}").into());
    }
    let mut unfound = 0;
    println!("| Fault | Found by |\n|---|---|");
    for mutation in MUTATIONS.iter().filter(|it| it.name.contains(&part)) {
        copied.mutate(mutation)?;
        let found = failures(&copied);
        copied.restore(mutation)?;
        let found = found?;
        unfound += usize::from(found.is_empty());
        let tests = match found.as_slice() {
            [] => "**nothing**".to_owned(),
            [only] => format!("`{only}`"),
            [first, others @ ..] => format!("`{first}` and {} more", others.len()),
        };
        println!("| {} | {tests} |", mutation.name);
    }
    Ok(if unfound == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The tests that fail.
fn failures(copied: &Copied) -> Result<Vec<String>, Box<dyn Error>> {
    let tests = "test --package shuttled --test schedules --test model";
    let run = |arguments: &[&str]| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(cargo);
        cargo.args(tests.split(' ')).args(arguments);
        cargo.current_dir(&copied.tree);
        cargo.env("CARGO_TARGET_DIR", &copied.target);
        cargo.output()
    };
    let built = run(&["--no-run"])?;
    if !built.status.success() {
        let message = String::from_utf8_lossy(&built.stderr).into_owned();
        return Err(format!("it does not compile:\n{message}").into());
    }
    let ran = run(&["--no-fail-fast"])?;
    let report = String::from_utf8_lossy(&ran.stdout).into_owned();
    let failed = report.lines().filter_map(|line| {
        let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(test.to_owned())
    });
    let mut failed: Vec<_> = failed.collect();
    if failed.is_empty() && !ran.status.success() {
        // Such as a stack overflow, which ends the whole program.
        failed.push(format!("{}", ran.status));
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{copied::SOURCE, table::MUTATIONS};

    /// A source that changes takes its fault along.
    // proves: schedules-find-mistakes
    #[test]
    fn each_fault_has_its_place_in_the_source() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for mutation in MUTATIONS {
            let source = fs::read_to_string(root.join(SOURCE).join(mutation.file));
            let places = source
                .expect("a source file")
                .matches(mutation.find)
                .count();
            assert_eq!(places, 1, "{}", mutation.name);
        }
        assert!(MUTATIONS.len() >= 12);
    }
}
