//! Numbers of seconds.

use syn::{Expr, ExprLit, ExprUnary, Lit, LitInt, UnOp};

/// The limits of `idempotency::Options`, checked here too because its panic would point at the whole attribute.
const MAX_SECONDS: u64 = 315_360_000;
const DEFAULT_TTL: u64 = 86_400;

pub(super) fn parse(name: &str, value: &Expr) -> syn::Result<LitInt> {
    let problem = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => match number.base10_parse::<u64>() {
            _ if !number.suffix().is_empty() => {
                format!(
                    "write the number alone: `{name} = {}`",
                    number.base10_digits()
                )
            }
            Ok(0) => format!("`{name}` must be at least 1"),
            Ok(1..=MAX_SECONDS) => return Ok(number.clone()),
            _ => format!("`{name}` must be at most {MAX_SECONDS}, which is ten years"),
        },
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) if string.value().parse::<u64>().is_ok() => {
            format!(
                "write the number without quotes: `{name} = {}`",
                string.value()
            )
        }
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_), ..
        }) => format!("`{name}` must be at least 1"),
        _ => format!("`{name}` must be a literal number of whole seconds, like `{name} = 3600`"),
    };
    Err(syn::Error::new_spanned(value, problem))
}

/// A hold cannot outlive the record that completes it.
pub(super) fn compare(lease: Option<&LitInt>, ttl: Option<&LitInt>) -> syn::Result<()> {
    let Some(lease) = lease else {
        return Ok(());
    };
    let longest = match ttl {
        Some(ttl) => ttl.base10_parse()?,
        None => DEFAULT_TTL,
    };
    if lease.base10_parse::<u64>()? <= longest {
        return Ok(());
    }
    let message = match ttl {
        Some(_) => {
            format!("`lease_seconds` must not be more than `ttl_seconds`, which is {longest}")
        }
        None => format!(
            "`lease_seconds` must not be more than `ttl_seconds`, which is {longest} by default"
        ),
    };
    Err(syn::Error::new_spanned(lease, message))
}
