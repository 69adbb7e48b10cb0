//! The attribute `#[idempotent]` of the crate `idempotency`, which documents and re-exports it.

use proc_macro::TokenStream;

/// See `idempotency::idempotent`.
#[proc_macro_attribute]
pub fn idempotent(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}
