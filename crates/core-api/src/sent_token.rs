//! The token that a command sends to a running service.

use std::{env, fs, path::Path};

use axum::http::HeaderValue;
use idempotency::log_text::Causes;

/// The environment variable of the token, so that it is neither in the shell's history nor among the processes.
pub(crate) const VARIABLE: &str = "CORE_API_TOKEN";

/// The value of the field `Authorization`, with the token of this file, or otherwise of the environment variable. `None` if neither is given.
pub(crate) fn authorization(file: Option<&Path>) -> Result<Option<HeaderValue>, String> {
    let token = match file {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| format!("--token-file {}: {}", path.display(), Causes(&error)))?,
        None => match env::var(VARIABLE) {
            Ok(token) => token,
            Err(_) => return Ok(None),
        },
    };
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| "the token has characters that no token has".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}
