//! The expansion: one constant of the function's name, with the function inside.

mod rebuilding;

use proc_macro2::{TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Expr, Meta, ReturnType, Token, Type, punctuated::Punctuated};

use crate::{
    args::{Arguments, Keep},
    check::check,
    function::{self, Function},
    mistakes::Mistakes,
    types::Found,
};

/// The constant; or the errors, and the function as it was, so that its uses cause no further errors.
pub(crate) fn expand(arguments: &TokenStream, item: &TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let (arguments, moved) = without_mark(arguments.clone());
    let options = Arguments::parse(arguments.clone(), &mut mistakes);
    let mut function = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => function,
        // The compiler rejects attributes on expressions, and a second error next to its own would confuse.
        Err(_) if syn::parse2::<Expr>(item.clone()).is_ok() => return item.clone(),
        Err(error) => {
            mistakes.add(function::instead(item.clone()).unwrap_or(error));
            let errors = mistakes.into_compile_errors();
            return quote!(#errors #item);
        }
    };
    check(&mut function, &mut mistakes);
    if let Some(replay) = &options.replay
        && let Err(error) = rebuilding::check(&function, replay)
    {
        mistakes.add(error);
    }
    if mistakes.any() {
        let errors = mistakes.into_compile_errors();
        return quote!(#errors #function);
    }
    match function.attributes.iter().position(writes_siblings) {
        Some(index) => {
            let first = function.attributes.remove(index);
            if moved {
                // The attribute has had its turn and is still here, so it is unknown, which the compiler reports.
                return constant(&options, function);
            }
            let mark = format_ident!("{MOVED}");
            let library = library(&options);
            quote!(#first #[#library::idempotent(#mark, #arguments)] #function)
        }
        None => constant(&options, function),
    }
}

/// Precedes the arguments once an attribute was moved up, so that it is not moved forever.
const MOVED: &str = "__moved";

fn without_mark(arguments: TokenStream) -> (TokenStream, bool) {
    let mut rest = arguments.clone().into_iter();
    match rest.next() {
        // A comma follows it.
        Some(TokenTree::Ident(first)) if first == MOVED => (rest.skip(1).collect(), true),
        _ => (arguments, false),
    }
}

fn constant(arguments: &Arguments, function: Function) -> TokenStream {
    let library = library(arguments);
    let options = options(arguments, &library);
    let types: Vec<_> = function.argument_types().cloned().collect();
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let (outer, inner): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_for_the_name);

    let name = &signature.ident;
    let bindings = (0..signature.inputs.len()).map(|index| format_ident!("argument_{index}"));
    let bindings: Vec<_> = bindings.collect();
    let (output, run) = match &signature.output {
        ReturnType::Default => (quote!(()), quote!(run)),
        ReturnType::Type(_, output) if Found::search(output).opaque.is_some() => (
            quote!(#library::__private1::Response),
            quote!(run_into_response),
        ),
        ReturnType::Type(_, output) => (quote!(#output), quote!(run)),
    };

    // The name's span makes lints and errors about the function point at the function instead of the attribute. On an
    // item that comes from an attribute from its first token to its last, the compiler reports no lints at all.
    let call = quote_spanned! {name.span()=>
        |#(#bindings),*| #library::__private1::#run(#name(#(#bindings),*))
    };
    let boxed = quote!(#library::__private1::BoxFuture<'static, #output>);
    let in_state = quote!(#library::__private1::InState);
    let (parameters, protected) = match &arguments.principal {
        None => (
            if arguments.engine_in_state {
                quote!(fn(#(#types),*) -> #boxed, #library::__private1::Unproved, #in_state)
            } else {
                quote!(fn(#(#types),*) -> #boxed)
            },
            quote!(#library::__private1::protected(#options, #call)),
        ),
        Some(principal) => {
            // The extractor runs before the others, and the argument of its type gets its value. The function can still
            // be called with that value directly.
            let taken = types.iter().position(|kind| is_same(kind, principal));
            let proved = quote!(#library::__private1::Proved<#principal>);
            let originals = &types;
            let is_taken = |index| taken == Some(index);
            let types = types.iter().enumerate();
            let types = types.map(|(index, kind)| {
                if is_taken(index) {
                    proved.clone()
                } else {
                    quote!(#kind)
                }
            });
            let values = bindings.iter().enumerate();
            let values = values.map(|(index, binding)| {
                if is_taken(index) {
                    quote_spanned!(name.span()=> #binding.0)
                } else {
                    quote!(#binding)
                }
            });
            let direct = quote!(fn(#(#originals),*) -> #library::__private1::Direct<#output>);
            let call = quote_spanned! {name.span()=>
                |#(#bindings),*| #library::__private1::Direct::new(
                    #library::__private1::#run(#name(#(#bindings),*))
                )
            };
            let routed = quote_spanned! {name.span()=>
                |#(#bindings),*| #library::__private1::#run(#name(#(#values),*))
            };
            let engine = arguments.engine_in_state.then_some(in_state);
            let engine = engine.into_iter();
            (
                quote!(
                    #direct,
                    #library::__private1::ProvedBy<#principal, fn(#(#types),*) -> #boxed>
                    #(, #engine)*
                ),
                quote! {
                    #library::__private1::protected_by::<#principal, _, _, _>(#options, #call, #routed)
                },
            )
        }
    };
    let (parameters, protected) = match &arguments.replay {
        None => (parameters, protected),
        Some(replay) => {
            rebuilding::expand(arguments, &library, replay, &types, &parameters, &protected)
        }
    };
    let constant = quote_spanned!(name.span()=> const);
    let end = quote_spanned!(name.span()=> ;);
    quote! {
        #(#outer)*
        #[allow(non_upper_case_globals, clippy::type_complexity)]
        #visibility #constant #name: #library::Idempotent<#parameters> = {
            #(#inner)*
            #signature
            #body

            #protected
        } #end
    }
}

/// Whether two types are written in the same way.
fn is_same(one: &Type, other: &Type) -> bool {
    quote!(#one).to_string() == quote!(#other).to_string()
}

/// Where the library is: a path that no name in scope of the handler can change, unless the user gives another one.
fn library(arguments: &Arguments) -> TokenStream {
    match &arguments.library {
        Some(path) => quote!(#path),
        None => quote!(::idempotency),
    }
}

fn options(arguments: &Arguments, library: &TokenStream) -> TokenStream {
    let Arguments {
        ttl_seconds,
        lease_seconds,
        required,
        transactional,
        on_duplicate_wait,
        on_lost_refuse,
        keep,
        // These are in the constant's type.
        engine_in_state: _,
        principal: _,
        // It is called on what the options make.
        replay: _,
        scope,
        fingerprint,
        key,
        options: base,
        library: _,
    } = arguments;
    let mut options = match base {
        // A function, so that a constant of another type is an error at its name.
        Some(constant) => quote!(#library::__private1::base(#constant)),
        None => quote!(#library::Options::new()),
    };
    // The ttl comes first, because each of the two is checked against the other.
    if let Some(seconds) = ttl_seconds {
        options.extend(quote!(.ttl(#library::__private1::Duration::from_secs(#seconds))));
    }
    if let Some(seconds) = lease_seconds {
        options.extend(quote!(.lease(#library::__private1::Duration::from_secs(#seconds))));
    }
    if *required {
        options.extend(quote!(.required()));
    }
    if *transactional {
        options.extend(quote!(.mode(#library::options::RunMode::Transactional)));
    }
    if *on_duplicate_wait {
        options.extend(quote!(.on_duplicate(#library::OnDuplicate::Wait)));
    }
    if *on_lost_refuse {
        options.extend(quote!(.on_lost(#library::OnLost::Refuse)));
    }
    match keep {
        Some(Keep::All) => options.extend(quote!(.keep(#library::options::Keep::All))),
        Some(Keep::Success) => options.extend(quote!(.keep(#library::options::Keep::Success))),
        None => {}
    }
    if let Some(function) = scope {
        options.extend(quote!(.scope(#function)));
    }
    if let Some(function) = fingerprint {
        options.extend(quote!(.fingerprint(#function)));
    }
    if let Some(function) = key {
        options.extend(quote!(.key(#function)));
    }
    options
}

/// Whether an attribute concerns the item that other code sees. Every other attribute concerns the function. Lints
/// concern both: they apply inside of the constant too.
fn is_for_the_name(attribute: &Attribute) -> bool {
    const NAMES: [&str; 8] = [
        "cfg",
        "deprecated",
        "doc",
        "allow",
        "deny",
        "expect",
        "forbid",
        "warn",
    ];
    NAMES.iter().any(|name| attribute.path().is_ident(name))
}

/// Whether an attribute writes items next to the function that must stay outside of the constant: `#[utoipa::path(…)]`,
/// also where it depends on a feature.
fn writes_siblings(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("cfg_attr") {
        let parts = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        return parts.is_ok_and(|parts| parts.iter().skip(1).any(is_utoipa_path));
    }
    is_utoipa_path(&attribute.meta)
}

fn is_utoipa_path(meta: &Meta) -> bool {
    let mut segments = meta.path().segments.iter().map(|segment| &segment.ident);
    segments.next().is_some_and(|first| first == "utoipa")
        && segments.next().is_some_and(|second| second == "path")
}
