//! The shared stores, each on its real server.

mod contract;
mod firestore;
mod service;
