//! The attribute `#[idempotent]` of the crate `idempotency`, which documents and re-exports it.

mod args;
mod check;
mod expand;
mod function;
#[cfg(test)]
mod golden;
mod mistakes;
mod types;

use proc_macro::TokenStream;

#[expect(
    missing_docs,
    reason = "they are on the re-export, where their examples compile"
)]
#[proc_macro_attribute]
pub fn idempotent(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(&arguments.into(), &item.into()).into()
}
