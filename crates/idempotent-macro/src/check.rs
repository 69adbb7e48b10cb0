//! Checks which functions can be handlers.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, GenericParam, ReturnType, Safety, Signature};

use crate::{
    function::Function,
    mistakes::Mistakes,
    types::{Borrow, Found},
};

/// The number of arguments for which axum implements `Handler`.
const MAX_ARGUMENTS: usize = 16;

/// Reports what is wrong, and removes what the compiler would report again.
pub(crate) fn check(function: &mut Function, mistakes: &mut Mistakes) {
    function.attributes.retain(|attribute| {
        let again = attribute
            .path()
            .segments
            .last()
            .is_some_and(|last| last.ident == "idempotent");
        if again {
            mistakes.at(
                attribute,
                "`#[idempotent]` is written twice: remove this one",
            );
        }
        !again
    });
    if function.body.is_none() {
        mistakes.at(
            &function.signature,
            "a handler needs a body: put `#[idempotent]` on a function outside of the trait",
        );
        return;
    }
    qualifiers(&mut function.signature, mistakes);
    generics(&function.signature, mistakes);
    arguments(&mut function.signature, mistakes);
    types(function, mistakes);
    if let Some(place) = first_self_type(function) {
        mistakes.at(place, "a handler cannot use `Self`: write the type's name");
    }
}

fn qualifiers(signature: &mut Signature, mistakes: &mut Mistakes) {
    let mut wrong = TokenStream::new();
    signature.constness.take().to_tokens(&mut wrong);
    if let Safety::Unsafe(token) = signature.safety {
        token.to_tokens(&mut wrong);
    }
    signature.abi.to_tokens(&mut wrong);
    let name = &signature.ident;
    if !wrong.is_empty() {
        mistakes.at(
            &wrong,
            format_args!("a handler must be a plain function: write `async fn {name}`"),
        );
    } else if signature.asyncness.is_none() {
        mistakes.at(
            signature.fn_token,
            format_args!("a handler must be async: write `async fn {name}`"),
        );
    }
}

fn generics(signature: &Signature, mistakes: &mut Mistakes) {
    let generics = &signature.generics;
    let is_lifetime = |parameter: &GenericParam| matches!(parameter, GenericParam::Lifetime(_));
    if !generics.params.iter().all(is_lifetime) {
        mistakes.at(
            generics,
            "a handler cannot be generic: write the types that it is used with",
        );
    } else if !generics.params.is_empty() {
        mistakes.at(
            generics,
            "a handler cannot have lifetimes: let its arguments and its response own their data",
        );
    } else if let Some(clause) = &generics.where_clause {
        mistakes.at(clause, "a handler cannot have a `where` clause: remove it");
    }
}

fn arguments(signature: &mut Signature, mistakes: &mut Mistakes) {
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        mistakes.at(
            receiver,
            "a handler cannot take `self`: take what it needs from an extractor, like `State`",
        );
    }
    if let Some(argument) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        mistakes.at(
            argument,
            format_args!(
                "a handler has at most {MAX_ARGUMENTS} arguments: put several into one extractor"
            ),
        );
    }
    if let Some(variadic) = signature.variadic.take() {
        mistakes.at(variadic, "a handler cannot be variadic: remove `...`");
    }
}

fn types(function: &Function, mistakes: &mut Mistakes) {
    for argument in function.argument_types() {
        if let Some(opaque) = Found::search(argument).opaque {
            mistakes.at(
                opaque,
                "an argument cannot be `impl Trait`: write the type of the extractor",
            );
        }
    }
    if !function.signature.generics.params.is_empty() {
        // The parameters are the mistake, and a borrow may follow from it.
        return;
    }
    let borrows = |from| Found::search(from).borrow;
    let mut arguments = function.argument_types().filter_map(borrows).peekable();
    let output = match &function.signature.output {
        ReturnType::Type(_, output) => borrows(output),
        ReturnType::Default => None,
    };
    if output.is_some() && arguments.peek().is_none() {
        // The return type has nothing to borrow from, in any function.
        mistakes.leave_to_compiler();
        return;
    }
    // The response of a function with borrowed arguments borrows because they do.
    for borrow in arguments {
        let message = "an argument cannot be borrowed: write an owned type, like `String`";
        match borrow {
            Borrow::Reference(reference) => mistakes.at(reference, message),
            Borrow::Lifetime(lifetime) => mistakes.at(lifetime, message),
        }
    }
}

/// Finds where the function uses `Self`, which the function inside of the constant could not.
fn first_self_type(function: &Function) -> Option<Ident> {
    let types = function.argument_types().map(ToTokens::to_token_stream);
    let output = function.signature.output.to_token_stream();
    types
        .chain([output])
        .find_map(self_type)
        .or_else(|| self_type(function.body.to_token_stream()))
}

fn self_type(tokens: TokenStream) -> Option<Ident> {
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) if ident == "Self" => return Some(ident),
            // These items have a `Self` of their own.
            TokenTree::Ident(ident)
                if ["impl", "trait", "struct", "enum"]
                    .iter()
                    .any(|item| ident == item) =>
            {
                tokens.find(|token| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(punct) => punct.as_char() == ';',
                    _ => false,
                });
            }
            TokenTree::Group(group) => {
                if let Some(ident) = self_type(group.stream()) {
                    return Some(ident);
                }
            }
            _ => {}
        }
    }
    None
}
