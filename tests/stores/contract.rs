//! The contract of a store as tests, for stores whose clock is a server's.

pub(crate) mod holds;
pub(crate) mod labels;
pub(crate) mod records;
pub(crate) mod withdrawals;

/// A test for each function of the contract, on stores that this function opens: `async fn() -> Option<Opened>`, and
/// none where the server is not installed.
macro_rules! the_store_keeps_the_contract {
    ($open:path) => {
        use idempotency::conformance;

        crate::contract::holds::holds!($open);
        crate::contract::labels::labels!($open);
        crate::contract::records::records!($open);
        crate::contract::withdrawals::withdrawals!($open);
    };
}

pub(crate) use the_store_keeps_the_contract;
