//! The parser of `Idempotency-Key`, beside another parser of RFC 9651.

use idempotency::{
    IdempotencyKey,
    key::{KeyError, KeySyntax},
};

/// What clients send in place of a missing key.
const PLACEHOLDERS: [&str; 6] = [
    "undefined",
    "null",
    "NaN",
    "[object Object]",
    "None",
    "00000000-0000-0000-0000-000000000000",
];

/// Reads the field value as the crate `sfv` reads it, within this library's limits, and writes each key so that it is read again.
///
/// # Panics
///
/// If it does not.
pub fn check(value: &[u8]) {
    let text = trimmed(value);
    let quoted = expected_quoted(text);
    let shown = value.escape_ascii();
    assert_eq!(read(value, KeySyntax::Quoted), quoted, "{shown}");
    let any = match text {
        [] | [b'"', ..] => quoted,
        [first, ..] if !matches!(first, b':' | b'@') && text.iter().all(is_bare) => {
            within_limits(str::from_utf8(text).expect("ASCII"))
        }
        _ => Err(KeyError::Character),
    };
    let read_any = read(value, KeySyntax::QuotedOrBare);
    assert_eq!(read_any, any, "{shown}");
    if let Ok(key) = any {
        let written = IdempotencyKey::new(&key).expect("it was read");
        let written = written.to_field_value();
        assert_eq!(expected_quoted(written.as_bytes()), Ok(key), "{shown}");
    }
}

/// Without the white space around it, which is no part of a field value (RFC 9110, section 5.5).
fn trimmed(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    match (
        value.iter().position(is_text),
        value.iter().rposition(is_text),
    ) {
        (Some(first), Some(last)) => &value[first..=last],
        _ => &[],
    }
}

fn read(value: &[u8], syntax: KeySyntax) -> Result<String, KeyError> {
    let key = IdempotencyKey::from_field_value(value, syntax)?;
    Ok(key.expose().to_owned())
}

/// The String of an Item, without its parameters.
fn expected_quoted(text: &[u8]) -> Result<String, KeyError> {
    let Some(first) = text.first() else {
        return Err(KeyError::Blank);
    };
    let item: Option<sfv::Item> = sfv::Parser::new(text).parse().ok();
    let string = item.as_ref().and_then(|item| item.bare_item.as_string());
    match string {
        Some(string) => within_limits(string.as_str()),
        None if *first == b'"' => Err(KeyError::BadString),
        None => Err(KeyError::NotQuoted),
    }
}

fn within_limits(key: &str) -> Result<String, KeyError> {
    match key {
        "" => Err(KeyError::Blank),
        _ if key.starts_with(' ') || key.ends_with(' ') => Err(KeyError::Blank),
        _ if key.len() > 255 => Err(KeyError::TooLong),
        _ if PLACEHOLDERS.contains(&key) => Err(KeyError::Placeholder),
        _ => Ok(key.to_owned()),
    }
}

fn is_bare(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~:+/=@-".contains(byte)
}
