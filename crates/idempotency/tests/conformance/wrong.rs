//! Stores that are wrong in one way each, and the functions that find them: the rows of `docs/contract.md`.

mod entries;
mod fault;
mod limited;
mod sentences;
mod spoiled;
mod verbs;
mod wrapper;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
};

use idempotency::conformance::TestStore;
use tokio::runtime::Builder;

use entries::Entries;
use fault::{Fault, Kind};
use limited::Limited;
use sentences::rows;
use wrapper::Marking;

type Function = fn(TestStore) -> Pin<Box<dyn Future<Output = ()>>>;

/// Every function of the suite, by its name.
fn functions() -> BTreeMap<&'static str, Function> {
    let mut functions = BTreeMap::<_, Function>::new();
    idempotency::__contract!(contract: list_each, functions);
    idempotency::__contract!(wakeups: list_each, functions);
    idempotency::__contract!(shares: list_each, functions);
    functions
}

fn open(fault: Fault) -> TestStore {
    match fault.kind() {
        Kind::Entries => Entries::open(Some(fault)),
        Kind::Limited => Limited::open(Some(fault)),
        Kind::Wrapper => Marking::open(Some(fault)),
    }
}

/// Whether a store passes a function. One thread runs all tasks, and the runtime's clock goes on whenever they wait, so
/// the result is the same each time.
fn passes(store: TestStore, function: Function) -> bool {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(function(store)))).is_ok()
}

// proves: wrong-store-found
#[test]
fn each_wrong_store_fails_the_functions_of_its_row() {
    let functions = functions();
    let mut unfound = Vec::new();
    for row in rows() {
        let fault = Fault::ALL.iter().find(|fault| fault.words() == row.store);
        let fault = *fault.unwrap_or_else(|| panic!("no store that {}", row.store));
        for name in row.functions {
            let function = functions
                .get(name)
                .unwrap_or_else(|| panic!("no function {name}"));
            if passes(open(fault), *function) {
                unfound.push(format!("a store that {} passes {name}", row.store));
            }
        }
    }
    assert!(unfound.is_empty(), "{unfound:#?}");
}

// proves: wrong-store-found
#[test]
fn the_same_stores_without_a_fault_pass() {
    for (name, function) in functions() {
        let stores = match name.starts_with("shares::") {
            true => vec![Limited::open(None)],
            false => vec![Entries::open(None), Marking::open(None)],
        };
        for store in stores {
            let tested = format!("{store:?}");
            assert!(passes(store, function), "{name}: {tested}");
        }
    }
}

// proves: wrong-store-found
#[test]
fn each_function_and_each_wrong_store_is_in_a_row() {
    let rows = rows();
    let named: BTreeSet<_> = rows.iter().flat_map(|row| row.functions.clone()).collect();
    let functions: BTreeSet<_> = functions().into_keys().collect();
    assert_eq!(named, functions);
    let stores: BTreeSet<_> = rows.iter().map(|row| row.store.to_owned()).collect();
    let faults: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.words()).collect();
    assert_eq!(stores, faults);
}
