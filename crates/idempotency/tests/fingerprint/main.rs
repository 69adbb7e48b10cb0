//! Which JSON texts count as the same request: `canonical_json` and `Fingerprint`.

mod model;
mod oracle;
mod properties;

use idempotency::{Fingerprint, fingerprint::canonical_json};

#[track_caller]
fn assert_same(one: &str, other: &str) {
    let form = canonical_json(one.as_bytes());
    assert!(form.is_some(), "no form: {one}");
    assert_eq!(form, canonical_json(other.as_bytes()), "{one} and {other}");
}

#[track_caller]
fn assert_different(one: &str, other: &str) {
    let form = canonical_json(one.as_bytes());
    assert!(form.is_some(), "no form: {one}");
    assert!(
        canonical_json(other.as_bytes()).is_some(),
        "no form: {other}"
    );
    assert_ne!(form, canonical_json(other.as_bytes()), "{one} and {other}");
}

#[track_caller]
fn assert_no_form(text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    assert_eq!(
        canonical_json(text),
        None,
        "{}",
        String::from_utf8_lossy(text)
    );
}

fn nested(levels: usize, inner: &str) -> String {
    "[".repeat(levels) + inner + &"]".repeat(levels)
}

// proves: json-layout-ignored
#[test]
fn the_order_of_members_does_not_count() {
    assert_same(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#);
    assert_same(r#"{"a":1,"b":2,"c":3}"#, r#"{"c":3,"a":1,"b":2}"#);
    assert_same(
        r#"{"":1,"a":2,"aa":3,"é":4}"#,
        r#"{"é":4,"aa":3,"a":2,"":1}"#,
    );
    assert_same(
        r#"[{"b":{"y":[{"q":1,"p":2}],"x":{}},"a":{"d":1,"c":2}},{"f":1,"e":2}]"#,
        r#"[{"a":{"c":2,"d":1},"b":{"x":{},"y":[{"p":2,"q":1}]}},{"e":2,"f":1}]"#,
    );
    assert_different(r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#);
    assert_different(r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"b":1,"c":2}}"#);
}

// proves: json-layout-ignored
#[test]
fn insignificant_white_space_does_not_count() {
    assert_same(
        r#"{"a":[1,true,null],"b":{}}"#,
        "\r\n\t {\n\"a\" : [ 1\t,true , null ]\r, \"b\":{ } } \n",
    );
    assert_same("[]", "[ ]");
    assert_same("1", " 1\n");
    assert_different(r#""a b""#, r#""ab""#);
    assert_different(r#"{"a":1}"#, r#"{"a ":1}"#);
}

// proves: json-layout-ignored
#[test]
fn the_spelling_of_a_string_does_not_count() {
    assert_same(r#""a""#, r#""\u0061""#);
    assert_same(r#"{"abc":1}"#, r#"{"\u0061b\u0063":1}"#);
    assert_same(r#""/""#, r#""\/""#);
    assert_same(
        r#""\"\\\b\f\n\r\t""#,
        r#""\u0022\u005C\u0008\u000c\u000A\u000d\u0009""#,
    );
    assert_same(r#""é€😀""#, r#""\u00e9\u20AC\ud83D\uDe00""#);
    assert_same(r#""\u0000""#, r#""\u0000""#);
    assert_different(r#""\\u0061""#, r#""\u0061""#);
    assert_different(r#""\\n""#, r#""\n""#);
    assert_different(r#""\"""#, r#""\\\"""#);
}

// proves: equal-numbers-equal
#[test]
fn the_spelling_of_a_number_does_not_count() {
    for spelling in [
        "1.0",
        "1e0",
        "10e-1",
        "1E+0",
        "1.000",
        "0.1e1",
        "0.001e+003",
        "100000e-5",
    ] {
        assert_same("1", spelling);
    }
    for spelling in [
        "-0",
        "0.0",
        "-0.000",
        "0e5",
        "0e-5",
        "-0E+7",
        "0e99999999999999999999",
    ] {
        assert_same("0", spelling);
    }
    assert_same("12.5", "1250e-2");
    assert_same("-1200", "-1.2e3");
    assert_same("1e400", "10e399");
    assert_same("1e9223372036854775807", "0.1e9223372036854775808");
    assert_same("1e-9223372036854775808", "10e-9223372036854775809");
    assert_same(
        "100000000000000000000000000000000000000000",
        "1e00000000000000000000000000000000000000000041",
    );
}

// proves: numbers-beyond-double-differ
#[test]
fn numbers_differ_by_their_last_digit() {
    assert_different("9007199254740992", "9007199254740993");
    assert_different("18446744073709551616", "18446744073709551617");
    assert_different("0.1", "0.1000000000000000055511151231257827");
    assert_different("1e400", "1e401");
    assert_different("1e400", "-1e400");
    assert_different("1e-400", "0");
    assert_different("1", "-1");
    assert_different("1", "10");
    assert_different("1", "0.1");
    assert_different("101", "11");
    assert_different("1.01", "1.1");
}

// proves: null-and-array-order-count
#[test]
fn what_means_something_else_differs() {
    assert_different(r#"{"a":null}"#, "{}");
    assert_different(r#"{"a":1,"b":null}"#, r#"{"a":1}"#);
    assert_different("[1,2]", "[2,1]");
    assert_different("[[1],2]", "[1,[2]]");
    assert_different("[12]", "[1,2]");
    assert_different("[]", "[[]]");
    assert_different("[]", "{}");
    assert_different(r#""Ann""#, r#""ann""#);
    assert_different("\"\u{e9}\"", "\"e\u{301}\"");
    assert_different("1", r#""1""#);
    assert_different("true", r#""true""#);
    assert_different("null", "false");
    assert_different(r#"["a","b"]"#, r#"["a\",\"b"]"#);
    assert_different(r#"{"a":"b"}"#, r#"{"a\":\"b":""}"#);
}

// proves: repeated-json-names-bytewise
#[test]
fn a_member_that_is_named_twice_has_no_form() {
    assert_no_form(r#"{"a":1,"a":2}"#);
    assert_no_form(r#"{"a":1,"a":1}"#);
    assert_no_form(r#"{"a":1,"b":2,"a":3}"#);
    assert_no_form(r#"{"b":1,"a":2,"b":3}"#);
    assert_no_form(r#"{"a":1,"\u0061":2}"#);
    assert_no_form(r#"[{"x":[{"b":1,"a":2,"b":3}]}]"#);
    assert_same(
        r#"{"a":{"a":1},"b":{"a":1}}"#,
        r#"{"b":{"a":1},"a":{"a":1}}"#,
    );
}

// proves: invalid-json-bytewise
#[test]
fn what_is_not_json_has_no_form() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\",1}",
        "{} x",
        "{}{}",
        "1 1",
        "1,",
        "nul",
        "nulll",
        "True",
        "tru",
        "NaN",
        "Infinity",
        "-Infinity",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "/* */ 1",
        "1 // one",
        "\u{a0}1",
        "\u{b}1",
    ] {
        assert_no_form(text);
    }
    for number in [
        "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "1e1.5", "1-", "0x1",
        "1_0", "--1", "1e5e5",
    ] {
        assert_no_form(number);
        assert_no_form(format!("[{number}]"));
    }
    for escape in [
        r"\a", r"\x41", r"\'", r"\U0041", r"\u", r"\u006", r"\u00g1", r"\u+061", r"\u{61}",
    ] {
        assert_no_form(format!("\"{escape}\""));
    }
    assert_no_form("\u{feff}{}");
    for byte in 0..0x20 {
        assert_no_form([b'"', byte, b'"']);
        assert_no_form([b"\"12345678".as_slice(), &[byte], b"12345678\""].concat());
    }
    for broken in [
        &b"\"\xff\""[..],
        b"\"\xc3\"",
        b"\"\xc0\xaf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xe9\"",
        b"1\xff",
    ] {
        assert_no_form(broken);
    }
}

// proves: invalid-json-bytewise
#[test]
fn half_a_surrogate_pair_has_no_form() {
    for text in [
        r"\ud83d",
        r"\ude00",
        r"\ud83dx",
        r"\ud83d\n",
        r"\ud83d\u0061",
        r"\ude00\ud83d",
        r"\ud83d\ud83d",
        r"\ud83d\ud83d\ude00",
        r"\ud83d\\ude00",
    ] {
        assert_no_form(format!("\"{text}\""));
    }
}

// proves: invalid-json-bytewise
#[test]
fn more_than_128_levels_have_no_form() {
    assert_same(&nested(128, ""), &nested(128, " "));
    assert_no_form(nested(129, ""));
    assert_same(
        &nested(127, r#"{"b":1,"a":2}"#),
        &nested(127, r#"{"a":2,"b":1}"#),
    );
    assert_no_form(nested(128, "{}"));
    assert_no_form("[".repeat(1_000_000));
    assert_no_form(r#"{"a":"#.repeat(1_000_000));
}

// proves: invalid-json-bytewise
#[test]
fn a_power_of_ten_beyond_64_bits_has_no_form() {
    assert_no_form("1e9223372036854775808");
    assert_no_form("10e9223372036854775807");
    assert_no_form("1e-9223372036854775809");
    assert_no_form("0.1e-9223372036854775808");
    assert_no_form("1e99999999999999999999999999999999999999999999");
    assert_no_form("1e-99999999999999999999999999999999999999999999");
}

// proves: json-layout-ignored, repeated-json-names-bytewise
#[test]
fn large_and_deep_objects_are_put_in_order() {
    let members: Vec<String> = (0..100_000)
        .map(|index| format!(r#""{index:05}":{{"z":{index},"y":[]}}"#))
        .collect();
    let mut backwards = members.clone();
    backwards.reverse();
    let object = |members: &[String]| format!("{{{}}}", members.join(","));
    assert_same(&object(&members), &object(&backwards));
    backwards.push(members[70_000].clone());
    assert_no_form(object(&backwards));

    let wrapped =
        |order: fn(&str) -> String| (0..127).fold("{}".to_owned(), |inner, _| order(&inner));
    assert_same(
        &wrapped(|inner| format!(r#"{{"b":{inner},"a":"{}"}}"#, "a".repeat(1000))),
        &wrapped(|inner| format!(r#"{{"a":"{}","b":{inner}}}"#, "a".repeat(1000))),
    );
}

// proves: digest-parts-delimited
#[test]
fn parts_are_kept_apart() {
    let of = |parts: &[&[u8]]| Fingerprint::of(parts.iter().copied());
    assert_eq!(of(&[b"a", b"bc"]), of(&[b"a", b"bc"]));
    assert_ne!(of(&[b"a", b"bc"]), of(&[b"ab", b"c"]));
    assert_ne!(of(&[b"a", b""]), of(&[b"a"]));
    assert_ne!(of(&[b"", b"a"]), of(&[b"a", b""]));
    assert_ne!(of(&[]), of(&[b""]));
}
