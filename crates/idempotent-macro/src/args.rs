//! The options in the attribute's parentheses.

mod replay;
mod seconds;
mod suggest;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Expr, ExprLit, ExprPath, Ident, Lit, LitInt, LitStr, Path, PathArguments, Token, Type,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
};

use crate::mistakes::Mistakes;

pub(crate) use replay::Replay;

/// The options. An option that is wrong is reported as a mistake, and is missing here.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) ttl_seconds: Option<LitInt>,
    pub(crate) lease_seconds: Option<LitInt>,
    pub(crate) required: bool,
    pub(crate) transactional: bool,
    pub(crate) on_duplicate_wait: bool,
    pub(crate) on_lost_refuse: bool,
    pub(crate) keep_all: bool,
    pub(crate) engine_in_state: bool,
    pub(crate) principal: Option<Type>,
    pub(crate) scope: Option<ExprPath>,
    pub(crate) fingerprint: Option<ExprPath>,
    pub(crate) replay: Option<Replay>,
    /// Where the library is, if not at `::idempotency`.
    pub(crate) library: Option<Path>,
}

/// Every option, and how to write it.
const OPTIONS: [(&str, &str); 13] = [
    ("ttl_seconds", "ttl_seconds = 3600"),
    ("lease_seconds", "lease_seconds = 30"),
    ("required", "required"),
    ("transactional", "transactional"),
    ("on_duplicate", "on_duplicate = \"wait\""),
    ("on_lost", "on_lost = \"refuse\""),
    ("keep", "keep = \"all\""),
    ("engine", "engine = \"state\""),
    ("principal", "principal = Claims"),
    ("scope", "scope = path::to::function"),
    ("fingerprint", "fingerprint = path::to::function"),
    ("replay", "replay = path::to::function"),
    ("crate", "crate = path::to::idempotency"),
];

const COMMA: &str = "separate two options with a comma";

/// One option, before it is known whether it exists.
struct Written {
    name: Ident,
    value: Option<Value>,
}

/// What follows an option's name.
enum Value {
    Expression(Expr),
    /// An extractor, whose generic arguments would be comparisons in an expression.
    Type(Type),
    Replay(Replay),
}

impl Arguments {
    pub(crate) fn parse(tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let list = |input: ParseStream<'_>| Ok(written_options(input, mistakes));
        let written = list.parse2(tokens).unwrap_or_default();

        let mut arguments = Self::default();
        for (index, option) in written.iter().enumerate() {
            let name = &option.name;
            if written[..index].iter().any(|other| other.name == *name) {
                mistakes.at(name, format_args!("`{name}` is given twice: remove one"));
            } else if let Err(error) = arguments.set(option) {
                mistakes.add(error);
            }
        }
        if arguments.transactional {
            let idle = |name: &Ident| name == "lease_seconds" || name == "on_lost";
            for name in written
                .iter()
                .map(|option| &option.name)
                .filter(|name| idle(name))
            {
                mistakes.at(
                    name,
                    format_args!(
                        "`{name}` has no effect with `transactional`, which takes no lease: remove it",
                    ),
                );
            }
        }
        if arguments.principal.is_some()
            && let Some(option) = written.iter().find(|option| option.name == "scope")
        {
            mistakes.at(
                &option.name,
                "`scope` has no effect with `principal`, which determines the key's owner: remove one of the two",
            );
        }
        // If there is a mistake, it may be about the ttl, which is then not known.
        if !mistakes.any()
            && let Err(error) = seconds::compare(
                arguments.lease_seconds.as_ref(),
                arguments.ttl_seconds.as_ref(),
            )
        {
            mistakes.add(error);
        }
        arguments
    }

    fn set(&mut self, Written { name, value }: &Written) -> syn::Result<()> {
        let Some((known, _)) = OPTIONS.iter().find(|(known, _)| name == known) else {
            return Err(syn::Error::new(name.span(), suggest::unknown_option(name)));
        };
        let value = match (*known, value) {
            ("required", None) => {
                self.required = true;
                return Ok(());
            }
            ("transactional", None) => {
                self.transactional = true;
                return Ok(());
            }
            ("required" | "transactional", Some(Value::Expression(value))) => {
                let message = format!("`{name}` takes no value: write `{name}` alone");
                return Err(syn::Error::new_spanned(value, message));
            }
            (_, None) => return Err(syn::Error::new(name.span(), how_to_write(name))),
            (_, Some(Value::Type(principal))) => {
                self.principal = Some(principal.clone());
                return Ok(());
            }
            (_, Some(Value::Replay(replay))) => {
                self.replay = Some(replay.clone());
                return Ok(());
            }
            (_, Some(Value::Expression(value))) => ungrouped(value),
        };
        match *known {
            "ttl_seconds" => self.ttl_seconds = Some(seconds::parse(known, value)?),
            "lease_seconds" => self.lease_seconds = Some(seconds::parse(known, value)?),
            "on_duplicate" => {
                the_word(known, "wait", value, "a duplicate gets 409")?;
                self.on_duplicate_wait = true;
            }
            "on_lost" => {
                the_word(known, "refuse", value, "a retry takes over and runs")?;
                self.on_lost_refuse = true;
            }
            "keep" => {
                the_word(known, "all", value, "a 5xx is not stored")?;
                self.keep_all = true;
            }
            "engine" => {
                the_word(
                    known,
                    "state",
                    value,
                    "the engine is taken from the request's extensions",
                )?;
                self.engine_in_state = true;
            }
            "scope" => self.scope = Some(function(known, value)?),
            "fingerprint" => self.fingerprint = Some(function(known, value)?),
            _ => self.library = Some(library(value)?),
        }
        Ok(())
    }
}

impl Parse for Written {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = match input.call(Ident::parse_any) {
            Ok(name) => name,
            Err(error) => return Err(syn::Error::new(error.span(), suggest::no_option())),
        };
        let at_end = || input.is_empty() || input.peek(Token![,]);
        if at_end() {
            return Ok(Self { name, value: None });
        }
        if input.peek(Ident::peek_any) {
            return Err(input.error(COMMA));
        }
        let how = how_to_write(&name);
        if input.parse::<Token![=]>().is_err() || at_end() {
            return Err(syn::Error::new(name.span(), how));
        }
        let value = if name == "principal" {
            let quoted = input.fork().parse::<LitStr>().ok();
            input
                .parse()
                .map(Value::Type)
                .map_err(|error| match quoted {
                    Some(quoted) => syn::Error::new(quoted.span(), unquoted(&quoted)),
                    None => syn::Error::new(error.span(), how),
                })?
        } else if name == "replay" {
            Value::Replay(replay::parse(input, &how)?)
        } else {
            let value = input.parse().map(Value::Expression);
            value.map_err(|error| syn::Error::new(error.span(), how))?
        };
        let value = Some(value);
        if at_end() {
            Ok(Self { name, value })
        } else {
            Err(input.error(COMMA))
        }
    }
}

/// The options that have a name, and a value if the value can be parsed. What cannot be parsed loses the rest up to the
/// next comma.
fn written_options(input: ParseStream<'_>, mistakes: &mut Mistakes) -> Vec<Written> {
    let mut written = Vec::new();
    while !input.is_empty() {
        match input.parse() {
            Ok(option) => written.push(option),
            Err(error) => mistakes.add(error),
        }
        while !input.is_empty() && !input.peek(Token![,]) {
            let _ = input.parse::<TokenTree>();
        }
        let _ = input.parse::<Token![,]>();
    }
    written
}

/// The expression inside the invisible parentheses of a `macro_rules!` argument.
fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => ungrouped(&group.expr),
        value => value,
    }
}

/// The message for an option that has no value, or an invalid one.
fn how_to_write(name: &Ident) -> String {
    match OPTIONS.iter().find(|(known, _)| name == known) {
        Some((_, example)) => format!("write `{example}`"),
        None => suggest::unknown_option(name),
    }
}

/// The one word that an option accepts. `otherwise` is what happens without the option.
fn the_word(name: &str, word: &str, value: &Expr, otherwise: &str) -> syn::Result<()> {
    let message = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) if string.value() == word => return Ok(()),
        Expr::Path(path) if path.path.is_ident(word) => format!("write `{name} = \"{word}\"`"),
        _ => format!("`{name}` can only be \"{word}\": without it, {otherwise}"),
    };
    Err(syn::Error::new_spanned(value, message))
}

/// The message for an extractor that is written as a string.
fn unquoted(principal: &LitStr) -> String {
    format!(
        "`principal` is the type of an extractor: write `principal = {}`",
        principal.value()
    )
}

/// The path of a module, without arguments: the expansion could not use those of a type.
fn library(value: &Expr) -> syn::Result<Path> {
    let path = match value {
        Expr::Path(ExprPath {
            qself: None, path, ..
        }) if path
            .segments
            .iter()
            .all(|segment| matches!(segment.arguments, PathArguments::None)) =>
        {
            return Ok(path.clone());
        }
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) => string.value(),
        _ => "path::to::idempotency".to_owned(),
    };
    let message = format!("`crate` is the path of the crate `idempotency`: write `crate = {path}`");
    Err(syn::Error::new_spanned(value, message))
}

fn function(name: &str, value: &Expr) -> syn::Result<ExprPath> {
    let path = match value {
        Expr::Path(path) => return Ok(path.clone()),
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) => string.value(),
        _ => "path::to::function".to_owned(),
    };
    let message = format!("`{name}` is the path of a function: write `{name} = {path}`");
    Err(syn::Error::new_spanned(value, message))
}
