#![deny(dead_code)]

use idempotency::idempotent;

#[idempotent]
async fn create() {}

fn main() {}
