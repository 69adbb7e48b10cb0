//! What is a key in an `Idempotency-Key` field.

mod properties;

use idempotency::{
    IdempotencyKey,
    key::{KeyError, KeySyntax},
};

const UUID: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

/// The key in a field value, as text.
fn read(value: impl AsRef<[u8]>) -> Result<String, KeyError> {
    let key = IdempotencyKey::from_field_value(value.as_ref(), KeySyntax::QuotedOrBare)?;
    Ok(key.expose().to_owned())
}

fn read_strictly(value: impl AsRef<[u8]>) -> Result<String, KeyError> {
    let key = IdempotencyKey::from_field_value(value.as_ref(), KeySyntax::Quoted)?;
    Ok(key.expose().to_owned())
}

#[track_caller]
fn assert_key(value: &str, key: &str) {
    assert_eq!(read(value).as_deref(), Ok(key), "{value}");
}

#[track_caller]
fn assert_refused(value: impl AsRef<[u8]>, error: KeyError) {
    let value = value.as_ref();
    assert_eq!(read(value), Err(error), "{}", value.escape_ascii());
    assert!(read_strictly(value).is_err(), "{}", value.escape_ascii());
}

// proves: quoted-key-accepted
#[test]
fn a_quoted_uuid_is_a_key() {
    let value = format!("\"{UUID}\"");
    assert_eq!(read(&value).as_deref(), Ok(UUID));
    assert_eq!(read_strictly(&value).as_deref(), Ok(UUID));
}

// proves: bare-key-equals-quoted
#[test]
fn a_bare_key_is_the_same_key_unless_only_quoted_ones_are_taken() {
    for key in [
        UUID,
        "e0397f8e-40d5-43e8-bc93-6894a57f9324",
        "1",
        "1.5",
        "1e3",
        "007",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "Order.17_a~b:c+d/e=f@g-h",
        "YWJj=",
        "-1",
        "-a",
        ".a",
        "~a",
        "=a",
        "_9-xQ",
        "/+AbC==",
        "https://example.com/orders/17",
    ] {
        assert_key(key, key);
        assert_eq!(
            IdempotencyKey::new(key),
            IdempotencyKey::from_field_value(format!("\"{key}\"").as_bytes(), KeySyntax::Quoted)
        );
        assert_eq!(read_strictly(key), Err(KeyError::NotQuoted), "{key}");
    }
    for value in [
        ":a", "@a", "*a", "a*", "a!", "a b", "a\"", "a\\b", "a\"b\"", "a%20b", "a{", "a#", "a&b",
    ] {
        assert_refused(value, KeyError::Character);
    }
}

// proves: key-list-refused
#[test]
fn a_list_is_not_a_key() {
    for value in [
        r#""a", "b""#,
        r#""a","b""#,
        r#""a" , "a""#,
        r#""a","#,
        r#""a", b"#,
    ] {
        assert_refused(value, KeyError::BadString);
    }
    for value in ["a,b", "a, b", "a,", ",a", r#",, "a""#] {
        assert_refused(value, KeyError::Character);
    }
}

// proves: empty-value-malformed, empty-string-refused, padded-key-refused
#[test]
fn a_key_has_something_to_say() {
    for value in [
        "",
        " ",
        "\t",
        " \t ",
        r#""""#,
        r#"" ""#,
        r#""   ""#,
        r#"" a""#,
        r#""a ""#,
        r#"" a ""#,
        r#""";a=1"#,
    ] {
        assert_refused(value, KeyError::Blank);
    }
    for key in ["", " ", "   ", " a", "a "] {
        assert_eq!(IdempotencyKey::new(key), Err(KeyError::Blank), "{key:?}");
    }
    assert_key(r#""a b""#, "a b");
}

// proves: overlong-key-refused, longest-key-accepted, parser-reads-long-strings
#[test]
fn a_key_has_at_most_255_characters() {
    let longest = "k".repeat(IdempotencyKey::MAX_LENGTH);
    assert_eq!(longest.len(), 255);
    assert_key(&longest, &longest);
    assert_key(&format!("\"{longest}\""), &longest);
    assert_key(&format!("\"{longest}\";a=\"{longest}\""), &longest);
    assert_key(&format!("\"{}\"", r"\\".repeat(255)), &r"\".repeat(255));
    assert!(IdempotencyKey::new(&longest).is_ok());

    for length in [256, 1024, 1025, 100_000] {
        let long = "k".repeat(length);
        assert_eq!(read(&long), Err(KeyError::TooLong), "{length}");
        assert_refused(format!("\"{long}\""), KeyError::TooLong);
        assert_eq!(
            IdempotencyKey::new(&long),
            Err(KeyError::TooLong),
            "{length}"
        );
    }
}

// proves: tab-in-key-refused, non-ascii-key-refused
#[test]
fn only_printable_ascii_is_in_a_key() {
    for byte in (0..b' ').chain(0x7f..=0xff) {
        assert_refused([b'"', b'a', byte, b'b', b'"'], KeyError::BadString);
        assert_refused([b'a', byte, b'b'], KeyError::Character);
    }
    assert_refused("\"Zoë\"", KeyError::BadString);
    assert_refused("Zoë", KeyError::Character);
    assert_refused("ключ", KeyError::Character);
    for key in ["a\tb", "a\nb", "a\0b", "a\u{7f}b", "Zoë"] {
        assert_eq!(
            IdempotencyKey::new(key),
            Err(KeyError::Character),
            "{key:?}"
        );
    }
    let printable: String = (' '..='~').collect();
    let printable = printable.trim();
    assert_eq!(
        IdempotencyKey::new(printable)
            .as_ref()
            .map(IdempotencyKey::expose),
        Ok(printable)
    );
}

// proves: key-escapes-decoded
#[test]
fn quotes_and_backslashes_are_escaped_in_a_quoted_key() {
    assert_key(r#""a\"b\\c""#, r#"a"b\c"#);
    assert_key(r#""\"""#, "\"");
    assert_key(r#""\\n""#, r"\n");
}

// proves: bad-quoting-refused
#[test]
fn a_broken_string_is_not_a_key() {
    for value in [
        r#""a\n""#,
        r#""a\u0061""#,
        r#""abc"#,
        r#"""#,
        r#""abc\"#,
        r#""abc\""#,
        r#""abc"x"#,
        r#""a" "b""#,
        r#""a""b""#,
        r#""foo"#,
        r#""a"="#,
    ] {
        assert_refused(value, KeyError::BadString);
    }
    for value in ["'abc'", r#"bar""#, r#"abc""#, "`abc`", "“abc”"] {
        assert_refused(value, KeyError::Character);
    }
}

// proves: key-parameters-ignored
#[test]
fn parameters_are_ignored() {
    for parameters in [
        ";a=b",
        ";v=1;x",
        r#"; a="z""#,
        ";a",
        ";a;a;a=2",
        ";   a",
        ";*=1",
        ";*a_-.*0=*/:x",
        ";a=?0;b=?1",
        ";a=-0",
        ";a=999999999999999",
        ";a=-123456789012.123",
        ";a=0.5",
        ";a=@0",
        ";a=@-1659578233",
        ";a=::",
        ";a=:YQ==:",
        ";a=:YQ=:",
        ";a=:YQ:",
        ";a=:YWI=:",
        ";a=:YWJj+/09:",
        r#";a=%"""#,
        r#";a=%"f%c3%bc%25""#,
        r#";a="\"\\";b"#,
        ";a=token;b=T*k!#$%&'*+-.^_`|~:/",
    ] {
        assert_key(&format!("\"k\"{parameters}"), "k");
        assert_eq!(
            read_strictly(format!("\"k\"{parameters}")).as_deref(),
            Ok("k")
        );
    }
}

// proves: malformed-parameters-refused
#[test]
fn broken_parameters_are_not_ignored() {
    for parameters in [
        ";",
        ";A=1",
        " ;a",
        ";a=",
        ";a =1",
        ";a= 1",
        ";\ta",
        ";1",
        ";-a",
        ";a=(1 2)",
        ";a=1 2",
        ";;a",
        ";a;",
        ",a",
        ";a=\"",
        ";a=\"\u{7f}\"",
        ";a=1.",
        ";a=.5",
        ";a=-",
        ";a=--1",
        ";a=+1",
        ";a=1.2345",
        ";a=1234567890123456",
        ";a=1234567890123.1",
        ";a=1.2.3",
        ";a=1e3",
        ";a=?",
        ";a=?2",
        ";a=?true",
        ";a=@",
        ";a=@1.5",
        ";a=@a",
        ";a=@1234567890123456",
        ";a=@@1",
        ";a=:",
        ";a=:Y:",
        ";a=:YQ==",
        ";a=:YQ===:",
        ";a=:=:",
        ";a=:YWJj=:",
        ";a=:Y Q:",
        ";a=:YQ=x:",
        ";a=:Y-_9:",
        ";a=%",
        ";a=%x",
        ";a=%\"",
        ";a=%\"%\"",
        ";a=%\"%c3\"",
        ";a=%\"%C3%BC\"",
        ";a=%\"%ff\"",
        ";a=%\"%0\"",
        ";a=%\"ü\"",
        ";a=!",
        ";a={}",
        ";a=é",
    ] {
        assert_refused(format!("\"k\"{parameters}"), KeyError::BadString);
    }
}

// proves: bare-key-parameters-refused
#[test]
fn a_bare_key_has_no_parameters() {
    for value in ["k;a=b", "k;", "k; a", "8e03978e;v=1"] {
        assert_refused(value, KeyError::Character);
    }
}

// proves: non-string-key-refused
#[test]
fn other_types_of_structured_fields_are_not_keys() {
    for value in [
        ":YWJj:", "?1", "?0", "@123", "@-1", r#"%"x""#, r#"("a")"#, "(a b)", "()", "*token",
    ] {
        assert_refused(value, KeyError::Character);
    }
}

// proves: value-whitespace-ignored
#[test]
fn white_space_around_a_value_is_not_part_of_it() {
    for space in [" ", "\t", " \t  "] {
        assert_key(&format!("{space}\"k\"{space}"), "k");
        assert_key(&format!("{space}\"k\";a{space}"), "k");
        assert_key(&format!("{space}k{space}"), "k");
    }
    for value in ["\n\"k\"", "\"k\"\r\n", "\u{c}k", "k\u{b}"] {
        assert!(read(value).is_err(), "{value:?}");
    }
}

// proves: key-case-counts
#[test]
fn keys_are_compared_byte_by_byte() {
    let key = |value: &str| {
        IdempotencyKey::from_field_value(value.as_bytes(), KeySyntax::QuotedOrBare).expect("a key")
    };
    assert_eq!(key("abc"), key("\"abc\""));
    assert_ne!(key("abc"), key("ABC"));
    assert_ne!(key("abc"), key("abcd"));
    assert_ne!(key(UUID), key(&UUID.to_uppercase()));
    assert_ne!(key("1"), key("1.0"));
    assert_ne!(key("\"a  b\""), key("\"a b\""));
}

// proves: placeholder-keys-refused
#[test]
fn what_a_broken_client_sends_in_place_of_a_key_is_refused() {
    for value in [
        "undefined",
        "\"undefined\"",
        "null",
        "None",
        "NaN",
        "\"[object Object]\"",
        "00000000-0000-0000-0000-000000000000",
        " \"00000000-0000-0000-0000-000000000000\" ",
    ] {
        assert_refused(value, KeyError::Placeholder);
    }
    // A key with that value that a program has chosen is valid.
    for key in ["undefined", "null"] {
        assert!(IdempotencyKey::new(key).is_ok());
    }
    for key in ["nullable", "Undefined", "order-undefined"] {
        assert_key(key, key);
    }
}

#[test]
fn neither_a_key_nor_a_refusal_shows_what_was_sent() {
    let key = IdempotencyKey::new("secret-17").expect("a key");
    assert!(!format!("{key:?}").contains("secret"));
    let error = read("secret-17 ;").expect_err("no key");
    assert!(!format!("{error} {error:?}").contains("secret"));
}
