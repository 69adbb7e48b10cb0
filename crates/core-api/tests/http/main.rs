//! The program `core-api`, started as users start it and called over HTTP.

mod admin_keys;
mod browser;
mod by_key;
mod checked;
mod clients;
mod codings;
mod connections;
mod cors;
mod described;
mod docs;
mod faults;
mod hidden;
mod key_changes;
mod keys;
mod keys_by_service;
mod life;
mod limits;
mod log;
mod metrics;
mod one_commit;
mod openapi;
mod options;
mod page;
mod page_in_chromium;
mod problems;
#[path = "../support/process.rs"]
pub mod process;
mod reading;
mod ready;
mod refusals;
mod secret;
mod secret_change;
mod server;
mod shares;
mod stopping;
mod story;
mod subjects;
mod supervisor;
mod token_file;
#[cfg(target_os = "linux")]
mod token_file_hangs;
mod token_new;
mod tokens;
mod traces;
mod transport;
mod validation;
mod writes;
