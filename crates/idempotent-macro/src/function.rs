//! The item under the attribute.

use proc_macro2::{Group, Ident, TokenStream};
use quote::{ToTokens, TokenStreamExt};
use syn::{
    Attribute, FnArg, Signature, Token, Type, Visibility,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
};

/// A function whose body is left as it was written: the compiler reports what is wrong in there.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// Missing where a trait declares a method.
    pub(crate) body: Option<Group>,
}

impl Function {
    pub(crate) fn argument_types(&self) -> impl Iterator<Item = &Type> {
        self.signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(argument) => Some(&*argument.ty),
                FnArg::Receiver(_) => None,
            })
    }
}

/// Reports the item under the attribute, if it is not a function.
pub(crate) fn instead(item: TokenStream) -> Option<syn::Error> {
    let keyword = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let keyword = input.call(Ident::parse_any)?;
        input.parse::<TokenStream>()?;
        Ok(keyword)
    };
    let keyword = keyword.parse2(item).ok()?;
    let advice = match keyword.to_string().as_str() {
        "impl" | "trait" | "mod" => "put it on each handler inside",
        "const" | "struct" | "enum" | "union" | "type" | "static" | "use" | "let" => {
            "put it on an `async fn`"
        }
        _ => return None,
    };
    let message = format!("`#[idempotent]` does not work on `{keyword}`: {advice}");
    Some(syn::Error::new(keyword.span(), message))
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        let body = match input.parse::<Option<Token![;]>>()? {
            Some(_) => None,
            None => Some(input.parse()?),
        };
        Ok(Self {
            attributes,
            visibility,
            signature,
            body,
        })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attributes);
        self.visibility.to_tokens(tokens);
        self.signature.to_tokens(tokens);
        match &self.body {
            Some(body) => body.to_tokens(tokens),
            None => <Token![;]>::default().to_tokens(tokens),
        }
    }
}
