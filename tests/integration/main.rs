//! The behaviour of the library, over real HTTP, on every store.

mod answer;
mod app;
mod backend;
mod concurrency;
mod expiry;
mod extractors;
mod failure;
mod fingerprints;
mod fragile;
mod keys;
mod leaving;
mod lost;
mod methods;
mod outcomes;
mod owners;
mod payment;
mod replays;
mod scopes;
mod script;
mod steps;
mod streaming;
mod time;
mod transport;
mod upgrades;
mod world;
