//! Members of JSON by their paths, in the canonical form of a text.

use std::borrow::Cow;

use super::canonical_json;

/// What a body has at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// Nothing, or null.
    Missing,
    Text(String),
    /// An integer, as its decimal digits.
    Integer(String),
    /// A value of another kind.
    Other,
}

/// The member at this path; `None` for a body on whose value readers of JSON disagree.
pub(crate) fn member(body: &[u8], path: &str) -> Option<Member> {
    let form = canonical_json(body)?;
    let mut value = form.as_slice();
    for name in names(path) {
        let mut children = Children::of(value);
        match children.find(|child| child.name == name.as_bytes()) {
            Some(child) => value = child.value,
            None => return Some(Member::Missing),
        }
    }
    Some(match value {
        b"null" => Member::Missing,
        [b'"', ..] => {
            String::from_utf8(unquoted(value).into_owned()).map_or(Member::Other, Member::Text)
        }
        [b'0'..=b'9' | b'-', ..] => integer(value).map_or(Member::Other, Member::Integer),
        _ => Member::Other,
    })
}

/// The canonical form of this text without the members at these paths.
pub(super) fn without(text: &[u8], paths: &[&str]) -> Option<Vec<u8>> {
    let form = canonical_json(text)?;
    let paths: Vec<Vec<_>> = paths.iter().map(|path| names(path)).collect();
    let paths: Vec<_> = paths.iter().map(Vec::as_slice).collect();
    let mut rest = Vec::with_capacity(form.len());
    copy_without(&form, &paths, &mut rest);
    Some(rest)
}

/// The name for every member or element.
const EACH: &str = "*";

/// The names on the way to a member: of a JSON Pointer (RFC 6901), or between dots.
fn names(path: &str) -> Vec<Cow<'_, str>> {
    match path.strip_prefix('/') {
        Some(pointer) => pointer
            .split('/')
            .map(|name| {
                if name.contains('~') {
                    name.replace("~1", "/").replace("~0", "~").into()
                } else {
                    name.into()
                }
            })
            .collect(),
        None => path.split('.').map(Cow::from).collect(),
    }
}

fn copy_without(form: &[u8], paths: &[&[Cow<'_, str>]], rest: &mut Vec<u8>) {
    let (Some((first, _)), Some((last, _))) = (form.split_first(), form.split_last()) else {
        return;
    };
    if paths.is_empty() || !matches!(first, b'{' | b'[') {
        rest.extend_from_slice(form);
        return;
    }
    rest.push(*first);
    let start = rest.len();
    for child in Children::of(form) {
        let inner = |path: &&'_ [Cow<'_, str>]| match path.split_first() {
            Some((name, _)) => name == EACH || name.as_bytes() == &*child.name,
            None => false,
        };
        let inner: Vec<_> = paths
            .iter()
            .filter(|path| inner(path))
            .map(|path| &path[1..])
            .collect();
        if inner.iter().any(|path| path.is_empty()) {
            continue;
        }
        if rest.len() > start {
            rest.push(b',');
        }
        rest.extend_from_slice(child.before);
        copy_without(child.value, &inner, rest);
    }
    rest.push(*last);
}

/// The members of an object or the elements of an array, in canonical form; none for other values.
struct Children<'a> {
    rest: &'a [u8],
    is_object: bool,
    index: usize,
}

struct Child<'a> {
    /// The name of a member, or the index of an element.
    name: Cow<'a, [u8]>,
    /// The quoted name and its colon, or nothing.
    before: &'a [u8],
    value: &'a [u8],
}

impl<'a> Children<'a> {
    fn of(form: &'a [u8]) -> Self {
        let rest = match form {
            [b'{', rest @ .., b'}'] | [b'[', rest @ .., b']'] => rest,
            _ => &[],
        };
        Self {
            rest,
            is_object: form.first() == Some(&b'{'),
            index: 0,
        }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Child<'a>;

    fn next(&mut self) -> Option<Child<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, before) = if self.is_object {
            let quoted = length(self.rest);
            let (before, rest) = self.rest.split_at_checked(quoted + 1)?;
            self.rest = rest;
            (unquoted(&before[..quoted]), before)
        } else {
            let index = self.index.to_string();
            (index.into_bytes().into(), &[][..])
        };
        let (value, rest) = self.rest.split_at(length(self.rest));
        self.rest = rest.strip_prefix(b",").unwrap_or(rest);
        self.index += 1;
        Some(Child {
            name,
            before,
            value,
        })
    }
}

/// The length of the value at the start of the form.
fn length(form: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = form.get(at) {
        match byte {
            b'"' => at += string_length(&form[at..]) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The length of the string at the start of the form, with its quotes.
fn string_length(form: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = form.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    form.len()
}

/// The characters of a string in canonical form, which escapes the quote and the backslash only.
fn unquoted(form: &[u8]) -> Cow<'_, [u8]> {
    let inner = match form {
        [b'"', inner @ .., b'"'] => inner,
        _ => form,
    };
    if !inner.contains(&b'\\') {
        return inner.into();
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        plain.extend(if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        });
    }
    plain.into()
}

/// The digits of an integer whose form omits the trailing zeros.
fn integer(form: &[u8]) -> Option<String> {
    /// More zeros are not worth writing: no key has so many characters.
    const MAX_ZEROS: usize = 1000;
    let form = str::from_utf8(form).ok()?;
    let Some((digits, power)) = form.split_once('e') else {
        return Some(form.to_owned());
    };
    let zeros = power.parse().ok().filter(|zeros| *zeros <= MAX_ZEROS)?;
    Some(digits.to_owned() + &"0".repeat(zeros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str, path: &str) -> Member {
        member(body.as_bytes(), path).expect("JSON")
    }

    #[test]
    fn a_member_is_found_by_its_path() {
        let body = r#" {"a": {"b.c": "x", "d": [1, {"e/f~": "y"}]}, "n": -1200, "": "z"} "#;
        let text = |text: &str| Member::Text(text.to_owned());
        assert_eq!(found(body, "/a/b.c"), text("x"));
        assert_eq!(found(body, "a.b.c"), Member::Missing);
        assert_eq!(found(body, "/a/d/1/e~1f~0"), text("y"));
        assert_eq!(found(body, "a.d.0"), Member::Integer("1".to_owned()));
        assert_eq!(found(body, "n"), Member::Integer("-1200".to_owned()));
        assert_eq!(found(body, "/"), text("z"));
        assert_eq!(found(body, "a"), Member::Other);
        assert_eq!(found(body, "a.d.2"), Member::Missing);
        assert_eq!(found(body, "n.x"), Member::Missing);
        assert_eq!(found("[]", "0"), Member::Missing);
    }

    #[test]
    fn what_is_no_integer_is_another_value() {
        for value in ["1.5", "1e-2", "1e2000", "true", "{}", "[]"] {
            let body = format!(r#"{{"n":{value}}}"#);
            assert_eq!(found(&body, "n"), Member::Other, "{value}");
        }
        assert_eq!(found(r#"{"n":1.0}"#, "n"), Member::Integer("1".to_owned()));
        assert_eq!(found(r#"{"n":null}"#, "n"), Member::Missing);
    }

    #[test]
    fn escapes_in_names_and_strings_are_resolved() {
        let body = r#"{"a\"}{b": "q\\\"\u0041", "next": "found"}"#;
        assert_eq!(found(body, "a\"}{b"), Member::Text("q\\\"A".to_owned()));
        assert_eq!(found(body, "next"), Member::Text("found".to_owned()));
    }

    #[test]
    fn readers_of_json_must_agree() {
        for body in [
            "",
            "{",
            "{} x",
            r#"{"a":1,"a":2}"#,
            "\u{feff}{}",
            r#"{"b":"\ud800"}"#,
        ] {
            assert_eq!(member(body.as_bytes(), "a"), None, "{body}");
        }
    }
}
