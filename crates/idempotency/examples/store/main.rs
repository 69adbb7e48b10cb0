//! A store of your own, in a `HashMap`, that keeps every promise of the contract: the guide `custom_store` as a program.
//!
//! `cargo run --example store -p idempotency --features conformance` runs work once, in this store.
//! `cargo test --example store -p idempotency --features conformance` runs one test for each promise.

mod hash_map_store;

use std::{convert::Infallible, error::Error};

use hash_map_store::HashMapStore;
use idempotency::{Clock, Fingerprint, Idempotency, IdempotencyKey, Run, Scope};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let idempotency = Idempotency::new(HashMapStore::new(Clock::system()));
    let scope = Scope::principal("queue/invoices");
    let key = IdempotencyKey::new("message-1")?;
    let fingerprint = Fingerprint::of([b"send invoice 7".as_slice()]);
    let send = async |receipt: u32| {
        let work = async move { Ok::<_, Infallible>(receipt) };
        idempotency.run(&scope, &key, fingerprint, work).await
    };
    let (first, again) = (send(1).await?, send(2).await?);
    println!("The first call: {first:?}");
    println!("The second one: {again:?}");
    assert_eq!((first, again), (Run::Executed(1), Run::Replayed(1)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use idempotency::{Clock, conformance::TestStore, conformance_tests};

    use super::HashMapStore;

    async fn open() -> TestStore {
        let clock = Clock::manual();
        let store = HashMapStore::new(clock.clone());
        TestStore::new(store, move |time| clock.advance(time))
    }

    conformance_tests!(open);
    conformance_tests!(wakeups: open);
}
