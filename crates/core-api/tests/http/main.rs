//! The program `core-api`, started as users start it and called over HTTP.

mod admin_keys;
mod browser;
mod clients;
mod codings;
mod connections;
mod cors;
mod docs;
mod faults;
mod key_changes;
mod keys;
mod life;
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
mod server;
mod shares;
mod stopping;
mod story;
mod subjects;
mod supervisor;
mod token_file;
mod token_new;
mod tokens;
mod transport;
mod validation;
mod writes;
