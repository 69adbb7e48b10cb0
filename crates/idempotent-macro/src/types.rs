//! The parts of a type that a constant's type cannot have.

use syn::{
    Lifetime, ParenthesizedGenericArguments, Type, TypeFnPtr, TypeImplTrait, TypeReference,
    visit::{self, Visit},
};

/// The first of each kind.
#[derive(Default)]
pub(crate) struct Found<'a> {
    pub(crate) opaque: Option<&'a TypeImplTrait>,
    /// A reference without a lifetime.
    pub(crate) borrow: Option<Borrow<'a>>,
}

pub(crate) enum Borrow<'a> {
    Reference(&'a TypeReference),
    Lifetime(&'a Lifetime),
}

impl<'a> Found<'a> {
    pub(crate) fn search(within: &'a Type) -> Self {
        let mut found = Self::default();
        found.visit_type(within);
        found
    }
}

impl<'a> Visit<'a> for Found<'a> {
    fn visit_type_impl_trait(&mut self, opaque: &'a TypeImplTrait) {
        self.opaque.get_or_insert(opaque);
    }

    fn visit_type_reference(&mut self, reference: &'a TypeReference) {
        match &reference.lifetime {
            Some(lifetime) if lifetime.ident != "_" => visit::visit_type_reference(self, reference),
            _ => {
                self.borrow.get_or_insert(Borrow::Reference(reference));
            }
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'a Lifetime) {
        if lifetime.ident == "_" {
            self.borrow.get_or_insert(Borrow::Lifetime(lifetime));
        }
    }

    // In these two, references may omit their lifetimes, wherever they occur.
    fn visit_type_fn_ptr(&mut self, _: &'a TypeFnPtr) {}

    fn visit_parenthesized_generic_arguments(&mut self, _: &'a ParenthesizedGenericArguments) {}
}
