//! What the attribute writes: one constant of the function's name, with the function inside.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, FnArg, ReturnType, Type, TypeImplTrait, visit::Visit};

use crate::{args::Arguments, function::Function};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = Arguments::parse(arguments);
    let function = syn::parse2::<Function>(item.clone());
    match (arguments, function) {
        (Ok(arguments), Ok(function)) => constant(&arguments, function),
        (Err(error), _) | (_, Err(error)) => {
            let error = error.into_compile_error();
            quote!(#error #item)
        }
    }
}

fn constant(arguments: &Arguments, function: Function) -> TokenStream {
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let (outer, inner): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_for_the_constant);

    let name = &signature.ident;
    let types = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) => Some(&input.ty),
        FnArg::Receiver(_) => None,
    });
    let bindings = (0..signature.inputs.len()).map(|index| format_ident!("argument_{index}"));
    let bindings: Vec<_> = bindings.collect();
    let (output, run) = match &signature.output {
        ReturnType::Default => (quote!(()), quote!(run)),
        ReturnType::Type(_, output) if is_unnamed(output) => (
            quote!(::idempotency::__private::Response),
            quote!(run_into_response),
        ),
        ReturnType::Type(_, output) => (quote!(#output), quote!(run)),
    };
    let options = options(arguments);

    // The name's span makes lints and errors about the function point at it instead of at the attribute.
    let call = quote_spanned! {name.span()=>
        |#(#bindings),*| ::idempotency::__private::#run(#name(#(#bindings),*))
    };
    quote! {
        #(#outer)*
        #[allow(non_upper_case_globals, clippy::type_complexity)]
        #visibility const #name: ::idempotency::Idempotent<
            fn(#(#types),*) -> ::idempotency::__private::BoxFuture<'static, #output>
        > = {
            #(#inner)*
            #signature
            #body

            ::idempotency::Idempotent::new(#options, #call)
        };
    }
}

fn options(arguments: &Arguments) -> TokenStream {
    let Arguments { ttl_seconds } = arguments;
    let ttl_seconds = ttl_seconds.iter();
    quote! {
        ::idempotency::Options::new()
            #(.ttl_seconds(#ttl_seconds))*
    }
}

fn is_for_the_constant(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc") || attribute.path().is_ident("cfg")
}

/// Whether the type cannot be written outside of a return position.
fn is_unnamed(output: &Type) -> bool {
    struct Search(bool);

    impl Visit<'_> for Search {
        fn visit_type_impl_trait(&mut self, _: &TypeImplTrait) {
            self.0 = true;
        }
    }

    let mut search = Search(false);
    search.visit_type(output);
    search.0
}
