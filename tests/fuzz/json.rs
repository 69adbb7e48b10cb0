//! Canonical JSON, beside a reader with exact numbers.

use idempotency::fingerprint::canonical_json;

use super::exact_json::{Strings, read};

/// Has a canonical form exactly if the text has one value, from which that value can be read again, and which another text of it has too.
///
/// # Panics
///
/// If it does not.
pub fn check(text: &[u8]) {
    let shown = text.escape_ascii();
    let value = read(text, Strings::Standard);
    let form = canonical_json(text);
    let (value, form) = match (value, form) {
        (Some(value), Some(form)) => (value, form),
        (None, None) => return,
        (value, form) => panic!("{shown}: {value:?}, and the form {form:?}"),
    };
    let again = read(&form, Strings::WithControls);
    assert_eq!(again.as_ref(), Some(&value), "{shown}");
    let respelled = value.respelled();
    let respelled = canonical_json(respelled.as_bytes());
    assert_eq!(respelled.as_ref(), Some(&form), "{shown}");
}
