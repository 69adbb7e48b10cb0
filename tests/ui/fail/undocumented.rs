#![deny(missing_docs)]
//! A crate whose items need documentation.

use idempotency::idempotent;

#[idempotent]
pub async fn create() {}

fn main() {}
