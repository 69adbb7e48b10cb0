//! All mistakes in one use of the attribute, so that one compilation shows them all.

use proc_macro2::TokenStream;
use quote::ToTokens;

#[derive(Default)]
pub(crate) struct Mistakes {
    errors: Option<syn::Error>,
    /// A mistake that the compiler reports well, once, if it sees the function as it was written.
    left_to_compiler: bool,
}

impl Mistakes {
    /// Reports a mistake at these tokens, which the user wrote.
    pub(crate) fn at(&mut self, place: impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(place, message));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.errors {
            Some(errors) => errors.combine(error),
            None => self.errors = Some(error),
        }
    }

    pub(crate) fn leave_to_compiler(&mut self) {
        self.left_to_compiler = true;
    }

    pub(crate) fn any(&self) -> bool {
        self.errors.is_some() || self.left_to_compiler
    }

    pub(crate) fn into_compile_errors(self) -> Option<TokenStream> {
        self.errors.map(syn::Error::into_compile_error)
    }
}
