//! Functions over bytes, each of which panics where a promise is broken. `fuzzed/` gives them the files of `corpus/` and what it makes of
//! them; `cargo/` has programs for cargo-fuzz that call the same functions.

pub mod exact_json;
pub mod http;
pub mod json;
pub mod key;
pub mod stored;
