//! The program `core-api`, started as a user starts it and asked over HTTP.

mod connections;
mod faults;
mod life;
mod log;
mod one_commit;
mod options;
mod problems;
mod reading;
mod ready;
mod secret;
mod server;
mod story;
mod transport;
mod validation;
mod writes;
