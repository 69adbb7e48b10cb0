//! The function that rebuilds responses.

use syn::{
    ExprPath, LitStr, Token, Type, parenthesized, parse::ParseStream, punctuated::Punctuated,
    token::Paren,
};

use crate::types::Found;

/// The number of arguments for which axum implements `Handler`.
const MAX_ARGUMENTS: usize = 16;

/// The function's path, and the types of its arguments, if they are written.
#[derive(Clone)]
pub(crate) struct Replay {
    pub(crate) function: ExprPath,
    pub(crate) arguments: Option<Vec<Type>>,
}

/// Reads `path`, or `path(State<Db>, ReplayWith<u64>)`. `how` is how to write the option.
pub(super) fn parse(input: ParseStream<'_>, how: &str) -> syn::Result<Replay> {
    if let Ok(quoted) = input.fork().parse::<LitStr>() {
        let message = format!(
            "`replay` is the path of a function: write `replay = {}`",
            quoted.value()
        );
        return Err(syn::Error::new(quoted.span(), message));
    }
    let function = input
        .parse::<ExprPath>()
        .map_err(|error| syn::Error::new(error.span(), how))?;
    if !input.peek(Paren) {
        return Ok(Replay {
            function,
            arguments: None,
        });
    }
    let content;
    parenthesized!(content in input);
    let arguments = Punctuated::<Type, Token![,]>::parse_terminated(&content).map_err(|error| {
        let message =
            "write the types of the function's arguments, such as `(State<Db>, ReplayWith<u64>)`";
        syn::Error::new(error.span(), message)
    })?;
    let arguments: Vec<_> = arguments.into_iter().collect();
    check(&arguments)?;
    Ok(Replay {
        function,
        arguments: Some(arguments),
    })
}

fn check(arguments: &[Type]) -> syn::Result<()> {
    if let Some(argument) = arguments.get(MAX_ARGUMENTS) {
        let message = format!("a function for `replay` has at most {MAX_ARGUMENTS} arguments");
        return Err(syn::Error::new_spanned(argument, message));
    }
    for argument in arguments {
        let found = Found::search(argument);
        if let Some(opaque) = found.opaque {
            let message = "write the type of the extractor in place of `impl Trait`";
            return Err(syn::Error::new_spanned(opaque, message));
        }
        if found.borrow.is_some() {
            let message = "an argument cannot be borrowed: write an owned type, like `String`";
            return Err(syn::Error::new_spanned(argument, message));
        }
    }
    Ok(())
}
