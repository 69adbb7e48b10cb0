//! What must be built before a server can start, in the folder for builds.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::peer::Program;

/// The programs that are ready, and why others are not.
#[derive(Default)]
pub(crate) struct Tools(BTreeMap<String, Result<(), String>>);

impl Tools {
    /// Builds what the program needs, unless that was tried before. Says loudly what could not be built.
    pub(crate) fn build(&mut self, program: Program) {
        let name = unit(program);
        if self.0.contains_key(&name) {
            return;
        }
        let built = match program {
            Program::Rust { package, .. } => rust(package),
            Program::Python(_) => python(),
            Program::Node(_) => node(),
        };
        if let Err(problem) = &built {
            eprintln!("NOT BUILT: {name}: {problem}");
        }
        self.0.insert(name, built);
    }

    /// The command that starts the program at this port.
    ///
    /// # Errors
    ///
    /// If it could not be built.
    pub(crate) fn command(&self, program: Program, port: u16) -> Result<Vec<String>, String> {
        self.0[&unit(program)].clone()?;
        let command = match program {
            Program::Rust { binary, .. } => vec![text(&builds().join("release").join(binary))],
            Program::Python(_) => {
                let uvicorn = text(&builds().join("python/bin/uvicorn"));
                let folder = text(&sources("python"));
                let port = port.to_string();
                let options = "--host 127.0.0.1 --loop uvloop --http httptools --no-access-log";
                [uvicorn, "server:app".into(), "--app-dir".into(), folder]
                    .into_iter()
                    .chain(["--port".into(), port])
                    .chain(options.split(' ').map(str::to_owned))
                    .collect()
            }
            Program::Node(_) => {
                vec!["node".into(), text(&builds().join("node/server.js"))]
            }
        };
        Ok(command)
    }
}

/// What is built at once.
fn unit(program: Program) -> String {
    match program {
        Program::Rust { package, .. } => package.to_owned(),
        Program::Python(_) => "Python".to_owned(),
        Program::Node(_) => "Node".to_owned(),
    }
}

/// Each package alone, so that none has features that only another one wants.
fn rust(package: &str) -> Result<(), String> {
    let manifest = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    // One of them says that it needs a compiler of tomorrow, and builds with that of today.
    let arguments = ["build", "--release", "--locked", "--ignore-rust-version"];
    run(Command::new("cargo")
        .args(arguments)
        .args(["--manifest-path", &manifest, "--package", package])
        .args(["--target-dir", &text(&builds())]))
}

fn python() -> Result<(), String> {
    let folder = builds().join("python");
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--requirement"])
        .arg(sources("python").join("requirements.txt")))
}

/// In a copy, because npm puts the packages beside the program.
fn node() -> Result<(), String> {
    let folder = builds().join("node");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "server.js"] {
        fs::copy(sources("node").join(file), folder.join(file))
            .map_err(|error| error.to_string())?;
    }
    run(Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&folder))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program}: {status}")),
        Err(error) => Err(format!("{program} cannot be started: {error}")),
    }
}

/// The folder in which Cargo built this program.
pub(crate) fn builds() -> PathBuf {
    let program = env::current_exe().expect("this program's path");
    let folder = program.ancestors().nth(2);
    folder.expect("Cargo has made a folder").to_owned()
}

fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("servers")
        .join(language)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
