//! The attribute `#[idempotent]` of the crate `idempotency`, which documents and re-exports it.

mod args;
mod check;
mod expand;
mod function;
mod mistakes;
mod types;

use proc_macro::TokenStream;

/// See `idempotency::idempotent`.
#[proc_macro_attribute]
pub fn idempotent(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(&arguments.into(), &item.into()).into()
}
