//! `core-api token new`.

use std::io::{self, Write, stderr, stdout};

use idempotency::log_text::Causes;

use crate::{
    config::NewToken,
    tokens::{Failure, New},
};

/// Makes a token, adds it to the file, and prints it. If printing fails, the line stays in the file, but the token is lost.
pub(crate) fn run(asked: &NewToken) -> Result<(), String> {
    let NewToken {
        subject,
        role,
        expires,
        tokens,
    } = asked;
    let failed = |error: Failure| Causes(error.as_ref()).to_string();
    let new = New::random(subject.clone(), *role, *expires).map_err(failed)?;
    if let Some(path) = tokens {
        new.add_to(path)
            .map_err(|error| format!("--tokens {}: {}", path.display(), failed(error)))?;
    }
    let printed = print(&new.token);
    printed.map_err(|error| format!("the token could not be printed: {}", Causes(&error)))?;
    let said = match tokens {
        Some(path) => format!("the line of this token was added to {}", path.display()),
        None => format!("# A line for the --tokens file:\n{}", new.line()),
    };
    // A closed standard error means that the caller does not want to read it.
    drop(writeln!(stderr(), "{said}"));
    Ok(())
}

fn print(token: &str) -> io::Result<()> {
    writeln!(stdout(), "{token}")?;
    stdout().flush()
}
