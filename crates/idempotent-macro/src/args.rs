//! What was written in the attribute's parentheses.

use proc_macro2::TokenStream;
use syn::{LitInt, Token, parse::Parser};

/// The options, each as it was written.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) ttl_seconds: Option<LitInt>,
}

impl Arguments {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut arguments = Self::default();
        if tokens.is_empty() {
            return Ok(arguments);
        }
        let parser = |input: syn::parse::ParseStream<'_>| {
            let name: syn::Ident = input.parse()?;
            if name != "ttl_seconds" {
                return Err(syn::Error::new(name.span(), "unknown option"));
            }
            input.parse::<Token![=]>()?;
            let value = input.parse()?;
            input.parse::<Option<Token![,]>>()?;
            Ok(value)
        };
        arguments.ttl_seconds = Some(parser.parse2(tokens)?);
        Ok(arguments)
    }
}
