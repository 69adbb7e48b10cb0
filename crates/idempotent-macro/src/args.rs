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
    pub(crate) keep: Option<Keep>,
    pub(crate) engine_in_state: bool,
    pub(crate) principal: Option<Type>,
    pub(crate) scope: Option<ExprPath>,
    /// A path, or a macro that makes such a function.
    pub(crate) fingerprint: Option<Expr>,
    pub(crate) key: Option<ExprPath>,
    /// The constant that the other options are added to.
    pub(crate) options: Option<ExprPath>,
    pub(crate) replay: Option<Replay>,
    /// Where the library is, if not at `::idempotency`.
    pub(crate) library: Option<Path>,
}

/// Every option, and how to write it.
const OPTIONS: [(&str, &str); 15] = [
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
    ("key", "key = path::to::function"),
    ("options", "options = path::to::CONSTANT"),
    ("replay", "replay = path::to::function"),
    ("crate", "crate = path::to::idempotency"),
];

/// Which responses are stored, where the option says so.
#[derive(Clone, Copy)]
pub(crate) enum Keep {
    All,
    Success,
}

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
            "keep" => self.keep = Some(keep(value)?),
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
            "fingerprint" => self.fingerprint = Some(fingerprint(known, value)?),
            "key" => self.key = Some(key(known, value)?),
            "options" => self.options = Some(constant(known, value)?),
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

fn keep(value: &Expr) -> syn::Result<Keep> {
    let message = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) if string.value() == "all" => return Ok(Keep::All),
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) if string.value() == "success" => return Ok(Keep::Success),
        Expr::Path(path) if path.path.is_ident("all") => "write `keep = \"all\"`",
        Expr::Path(path) if path.path.is_ident("success") => "write `keep = \"success\"`",
        _ => {
            "`keep` can only be \"all\" or \"success\": without it, a 5xx is not stored, and a 4xx is"
        }
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
    path(value, "path::to::function").map_err(|path| {
        let message = format!("`{name}` is the path of a function: write `{name} = {path}`");
        syn::Error::new_spanned(value, message)
    })
}

/// The function that finds the key. A string may be meant as the name of a header field.
fn key(name: &str, value: &Expr) -> syn::Result<ExprPath> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) if string.parse::<Path>().is_err() => {
            let message = format!(
                "`{name}` is the path of a function, which can call `request.header({:?})`: write `{name} = path::to::function`",
                string.value(),
            );
            Err(syn::Error::new_spanned(value, message))
        }
        _ => function(name, value),
    }
}

/// A function, or a macro such as `json_without!` that makes one.
fn fingerprint(name: &str, value: &Expr) -> syn::Result<Expr> {
    match value {
        Expr::Macro(_) => Ok(value.clone()),
        Expr::Call(call) if is_json_without(&call.func) => {
            let message = "`json_without!` is a macro: write `fingerprint = json_without!(\"path.to.member\")`";
            Err(syn::Error::new_spanned(value, message))
        }
        _ => function(name, value).map(Expr::Path),
    }
}

fn is_json_without(function: &Expr) -> bool {
    let Expr::Path(path) = function else {
        return false;
    };
    let last = path.path.segments.last();
    last.is_some_and(|last| last.ident == "json_without")
}

fn constant(name: &str, value: &Expr) -> syn::Result<ExprPath> {
    path(value, "path::to::CONSTANT").map_err(|path| {
        let message =
            format!("`{name}` is the path of a constant of `Options`: write `{name} = {path}`");
        syn::Error::new_spanned(value, message)
    })
}

/// The path, or what to write in its place.
fn path(value: &Expr, example: &str) -> Result<ExprPath, String> {
    match value {
        Expr::Path(path) => Ok(path.clone()),
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) => Err(string.value()),
        _ => Err(example.to_owned()),
    }
}
