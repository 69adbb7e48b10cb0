//! The functions that `tests/fuzzed` calls, for cargo-fuzz.

#[path = "../exact_json.rs"]
pub mod exact_json;
#[path = "../http.rs"]
pub mod http;
#[path = "../json.rs"]
pub mod json;
#[path = "../key.rs"]
pub mod key;
#[path = "../stored.rs"]
pub mod stored;
