//! Properties of every field value, compared with another parser of RFC 9651.

use idempotency::{IdempotencyKey, key::KeyError};
use proptest::prelude::*;

use crate::{read, read_strictly};

/// How the crate `sfv` parses a value: the String of an Item, without its parameters.
fn oracle(value: &[u8]) -> Option<String> {
    let item: sfv::Item = sfv::Parser::new(value).parse().ok()?;
    Some(item.bare_item.as_string()?.as_str().to_owned())
}

/// A value that begins with a quote, from the grammar: whole, or with pieces that do not belong.
fn quoted_value() -> impl Strategy<Value = Vec<u8>> {
    let bare_item = prop_oneof![
        r"-?[0-9]{1,16}",
        r"-?[0-9]{1,13}\.[0-9]{0,4}",
        r"@-?[0-9]{1,16}(\.[0-9])?",
        r#""([ -~]|\\["\\]){0,4}""#,
        r"[A-Za-z*][!-~]{0,4}",
        r":[A-Za-z0-9+/]{0,9}={0,3}:",
        r"\?[01]",
        r#"%"([ -$&-~]|%[0-7][0-9a-f]|%c3%[89ab][0-9a-f]|%[0-9a-fA-F]{2}){0,4}""#,
    ];
    let parameter = (" {0,2}[a-z*][a-z0-9_.*-]{0,3}", prop::option::of(bare_item));
    let parameter = parameter.prop_map(|(name, value)| match value {
        Some(value) => format!(";{name}={value}"),
        None => format!(";{name}"),
    });
    let damage = prop_oneof![
        4 => Just(None),
        1 => (any::<prop::sample::Index>(), "[\"\\\\;:=%@?. a-cA1\t\u{7f}\u{e9}-]{0,2}").prop_map(Some),
    ];
    let string = prop_oneof![
        r#"([!#-\[\]-~ ]|\\["\\]){0,12}"#,
        "[ -~]{0,6}",
        "[!#-\\[\\]-~]{250,260}"
    ];
    let parameters = prop::collection::vec(parameter, 0..4);
    (string, parameters, " {0,2}", damage).prop_map(|(string, parameters, end, damage)| {
        let mut value = format!("\"{string}\"{}{end}", parameters.concat()).into_bytes();
        if let Some((place, pieces)) = damage {
            let place = 1 + place.index(value.len());
            value.splice(place..value.len().min(place + 1), pieces.bytes());
        }
        value
    })
}

/// Keys as the usual generators make them: `secrets.token_urlsafe`, base64 of random bytes, nanoid, hexadecimal digits,
/// UUIDs, ULIDs, and words with a prefix.
fn usual_key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{21,43}",
        "[A-Za-z0-9+/]{22}==",
        "[A-Za-z0-9+/]{43}=",
        "[0-9a-f]{32}",
        "[0-9A-F]{8}-[0-9A-F]{4}-[1-8][0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        "[0-7][0-9A-HJKMNP-TV-Z]{25}",
        "[a-z]{1,8}[_.:/-][A-Za-z0-9_-]{8,32}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    // proves: quoted-key-accepted, key-escapes-decoded, bad-quoting-refused, key-parameters-ignored
    // proves: malformed-parameters-refused
    #[test]
    fn a_quoted_value_is_read_as_sfv_reads_it(value in quoted_value()) {
        // White space at the end, tabs included, is not part of a field value.
        let expected = match oracle(value.trim_ascii_end()) {
            None => Err(KeyError::BadString),
            Some(string) if string.trim_matches(' ').len() != string.len() || string.is_empty() => Err(KeyError::Blank),
            Some(string) if string.len() > 255 => Err(KeyError::TooLong),
            Some(string) => Ok(string),
        };
        let shown = value.escape_ascii();
        prop_assert_eq!(&read(&value), &expected, "{}", shown);
        prop_assert_eq!(&read_strictly(&value), &expected, "{}", shown);
    }

    // proves: quoted-key-accepted, key-escapes-decoded
    #[test]
    fn a_written_key_is_read_as_the_same_key(text in "[ -~]{5,40}") {
        let Ok(key) = IdempotencyKey::new(&text) else {
            return Ok(());
        };
        prop_assert_eq!(read_strictly(key.to_field_value().as_bytes()), Ok(text));
    }

    // proves: bare-key-equals-quoted
    #[test]
    fn what_the_usual_generators_make_is_a_key_with_and_without_quotes(key in usual_key()) {
        prop_assert_eq!(&read(key.as_bytes()), &Ok(key.clone()));
        prop_assert_eq!(&read_strictly(format!("\"{key}\"").as_bytes()), &Ok(key));
    }

    // proves: bare-key-equals-quoted, tab-in-key-refused, non-ascii-key-refused
    // proves: bare-key-parameters-refused, non-string-key-refused
    #[test]
    fn any_other_value_is_bare_or_refused(value in prop::collection::vec(prop_oneof![any::<u8>(), b'-'..=b'z'], 1..6)) {
        prop_assume!(!matches!(value[..], [b'"' | b' ' | b'\t', ..] | [.., b' ' | b'\t']));
        let is_bare = !matches!(value[0], b':' | b'@')
            && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._~:+/=@-".contains(byte));
        let read = read(&value);
        prop_assert_eq!(read.is_ok(), is_bare, "{}", value.escape_ascii());
        if let Ok(key) = read {
            prop_assert_eq!(key.as_bytes(), value);
        }
    }
}
