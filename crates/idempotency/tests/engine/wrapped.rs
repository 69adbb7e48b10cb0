//! Wrappers that say something wrong of the store behind them.

use std::sync::{Arc, OnceLock};

use idempotency::{Idempotency, MemoryStore, Store};

use crate::delegate::{Delegate, Hooks};

/// It passes its calls to a store, and names another one.
#[derive(Debug)]
struct Misnaming {
    inner: MemoryStore,
    named: OnceLock<Arc<dyn Store>>,
}

impl Hooks for Misnaming {
    fn store(&self) -> &dyn Store {
        &self.inner
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        self.named.get().map(|named| named as &dyn Store)
    }
}

fn misnaming() -> Arc<Delegate<Misnaming>> {
    Arc::new(Delegate(Misnaming {
        inner: MemoryStore::new(),
        named: OnceLock::new(),
    }))
}

/// A transaction would look for the store behind it until its thread has no stack left, and that ends the process.
#[test]
#[should_panic(expected = "does not end")]
fn a_wrapper_that_names_itself_is_refused_at_the_start() {
    let wrapper = misnaming();
    let named: Arc<dyn Store> = Arc::<Delegate<Misnaming>>::clone(&wrapper);
    assert!(wrapper.named.set(named).is_ok());
    let _ = Idempotency::builder(wrapper)
        .with_secret(b"a secret")
        .build();
}

#[test]
#[should_panic(expected = "does not end")]
fn two_wrappers_that_name_each_other_are_refused_at_the_start() {
    let (one, other) = (misnaming(), misnaming());
    assert!(
        one.named
            .set(Arc::<Delegate<Misnaming>>::clone(&other))
            .is_ok()
    );
    assert!(
        other
            .named
            .set(Arc::<Delegate<Misnaming>>::clone(&one))
            .is_ok()
    );
    let _ = Idempotency::new(one);
}

/// As a service makes them that adds a handle wherever it passes its store on.
#[test]
fn sixty_handles_on_a_store_are_one_store() {
    let mut store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for _ in 0..60 {
        store = Arc::new(store);
    }
    assert_eq!(Idempotency::new(store).store().name(), "memory");
}
