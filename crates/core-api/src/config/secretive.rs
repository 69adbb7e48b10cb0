//! Arguments that may be secret: URLs with passwords, and keys in place of ids. clap would repeat what it refuses on standard error, which is
//! stored with the log.

use std::{ffi::OsStr, marker::PhantomData, str::FromStr};

use clap::{
    Arg, Command, Error,
    builder::TypedValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Reads a value; the error does not repeat it.
pub(super) struct Secretive<T>(PhantomData<fn() -> T>);

impl<T> Secretive<T> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Secretive<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T> TypedValueParser for Secretive<T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let read = match value.to_str() {
            Some(value) => value.parse(),
            None => Err("expected UTF-8".into()),
        };
        read.map_err(|expected| {
            let option = arg.map(ToString::to_string).unwrap_or_default();
            let message = format!(
                "the value of '{option}' cannot be used. It is not repeated here, because it may have a password in it, or be a key: \
                 {expected}\n"
            );
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

/// The error without the arguments that it repeats: a misplaced argument of `keys` or `token` may be a key or a token.
pub(super) fn without_arguments(mut error: Error) -> Error {
    let mut kinds = vec![ContextKind::InvalidSubcommand, ContextKind::InvalidValue];
    // Otherwise it is an option of ours.
    if error.kind() == ErrorKind::UnknownArgument {
        kinds.push(ContextKind::InvalidArg);
    }
    for kind in kinds {
        if error.get(kind).is_some() {
            error.insert(kind, ContextValue::String("…".into()));
        }
    }
    without_urls(error)
}

/// The error without the arguments that it repeats, if one of them may be a misplaced URL.
pub(super) fn without_urls(mut error: Error) -> Error {
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidValue,
    ] {
        let has_url = |value: &ContextValue| matches!(value, ContextValue::String(text) if text.contains([':', '@']));
        if error.get(kind).is_some_and(has_url) {
            error.insert(kind, ContextValue::String("…".into()));
        }
    }
    // Its suggestion may repeat the argument too.
    error.remove(ContextKind::Suggested);
    error
}
