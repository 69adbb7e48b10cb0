//! The shared stores, each on its real server.

mod contract;
mod frozen;
mod postgres;
mod proxy;
mod redis;
mod service;
