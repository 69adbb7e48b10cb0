//! The functions that `tests/fuzzed` calls, for cargo-fuzz.

#[path = "../tests/fuzz/exact_json.rs"]
pub mod exact_json;
#[path = "../tests/fuzz/http.rs"]
pub mod http;
#[path = "../tests/fuzz/json.rs"]
pub mod json;
#[path = "../tests/fuzz/key.rs"]
pub mod key;
#[path = "../tests/fuzz/stored.rs"]
pub mod stored;
