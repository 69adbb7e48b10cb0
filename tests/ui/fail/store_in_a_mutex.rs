use std::sync::{Arc, Mutex};

use idempotency::{Idempotency, MemoryStore};

fn main() {
    let _ = Idempotency::builder(Arc::new(Mutex::new(MemoryStore::new())));
}
