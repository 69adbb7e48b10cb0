//! The function that rebuilds responses, in the constant's type and value.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{GenericArgument, PathArguments, Type, spanned::Spanned};

use super::is_same;
use crate::{
    args::{Arguments, Replay},
    function::Function,
};

/// The type and the value of the constant, with the function that rebuilds its responses.
pub(super) fn expand(
    arguments: &Arguments,
    library: &TokenStream,
    replay: &Replay,
    types: &[Type],
    parameters: &TokenStream,
    protected: &TokenStream,
) -> (TokenStream, TokenStream) {
    let private = quote!(#library::__private1);
    // The type's parameters have defaults, and this one is the last.
    let before = match (arguments.principal.is_some(), arguments.engine_in_state) {
        (false, false) => quote!(#private::Unproved, #private::InExtensions,),
        (true, false) => quote!(#private::InExtensions,),
        (_, true) => quote!(),
    };
    let path = &replay.function;
    let span = path.span();
    let (taken, rebuild) = match &replay.arguments {
        Some(taken) => {
            // Each has its type's place, so that a type that the function does not take is reported there.
            let bindings = taken.iter().enumerate();
            let bindings =
                bindings.map(|(index, kind)| format_ident!("argument_{index}", span = kind.span()));
            let bindings: Vec<_> = bindings.collect();
            let is_principal = |kind: &Type| {
                let principal = arguments.principal.as_ref();
                principal.is_some_and(|principal| is_same(kind, principal))
            };
            let values = taken.iter().zip(&bindings).map(|(kind, binding)| {
                if is_principal(kind) {
                    quote_spanned!(kind.span()=> #binding.0)
                } else {
                    quote!(#binding)
                }
            });
            let call = quote_spanned! {span=>
                |#(#bindings),*| #private::run_into_response(#path(#(#values),*))
            };
            let taken = taken.iter().map(|kind| {
                if is_principal(kind) {
                    quote!(#private::ProvedAgain<#kind>)
                } else {
                    quote!(#kind)
                }
            });
            (quote!(#(#taken),*), call)
        }
        None => match state_of(types.iter(), replay) {
            Ok(Some(state)) => (
                quote!(#private::State<#state>, #private::Request),
                quote_spanned!(span=> |argument_0, argument_1| #private::rebuild_with_state(#path, argument_0, argument_1)),
            ),
            _ => (
                quote!(#private::Request),
                quote_spanned!(span=> |argument_0| #private::rebuild_without_state(#path, argument_0)),
            ),
        },
    };
    let rebuilt = quote!(
        #private::Rebuilt<fn(#taken) -> #private::BoxFuture<'static, #private::Response>>
    );
    (
        quote!(#parameters, #before #rebuilt),
        quote!(#private::replaying(#protected, #rebuild)),
    )
}

/// Reports a function that cannot rebuild the responses of this handler.
pub(super) fn check(function: &Function, replay: &Replay) -> syn::Result<()> {
    let handler = &function.signature.ident;
    if replay.function.path.is_ident(handler) {
        let message = format!(
            "`{handler}` is the handler, which a retry must not run: write another function"
        );
        return Err(syn::Error::new_spanned(&replay.function, message));
    }
    if replay.arguments.is_none() {
        state_of(function.argument_types(), replay)?;
    }
    Ok(())
}

/// The router's state as the handler takes it: the `A` of its `State<A>`, if it has one. Several of them do not say which
/// one the function takes.
fn state_of<'a>(
    arguments: impl Iterator<Item = &'a Type>,
    replay: &Replay,
) -> syn::Result<Option<&'a Type>> {
    let mut states = arguments.filter_map(state);
    let Some(first) = states.next() else {
        return Ok(None);
    };
    if states
        .any(|other| other.to_token_stream().to_string() != first.to_token_stream().to_string())
    {
        let function = replay
            .function
            .to_token_stream()
            .to_string()
            .replace(' ', "");
        let message = format!(
            "the handler has several `State` arguments: write what the function takes, such as `replay = {function}(State<{}>, ReplayWith<T>)`",
            first.to_token_stream().to_string().replace(' ', ""),
        );
        return Err(syn::Error::new_spanned(&replay.function, message));
    }
    Ok(Some(first))
}

fn state(argument: &Type) -> Option<&Type> {
    let Type::Path(path) = argument else {
        return None;
    };
    let last = path.path.segments.last()?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) if last.ident == "State" => {
            match arguments.args.first()? {
                GenericArgument::Type(state) => Some(state),
                _ => None,
            }
        }
        _ => None,
    }
}
