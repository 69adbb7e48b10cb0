//! The versions of a key that an operator has seen.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

use crate::error::ApiError;

/// The entity tags of `If-Match`, RFC 9110 section 13.1.1. A weak tag counts like a strong one: a version changes with the record, and a proxy that
/// compresses responses, such as nginx, makes their tags weak.
pub(super) struct IfMatch(pub(super) Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Err(ApiError::NothingSeen);
        }
        let fields = parts.headers.get_all(header::IF_MATCH).iter();
        let fields: Vec<_> = fields.filter_map(|field| field.to_str().ok()).collect();
        if fields.iter().any(|field| field.trim() == "*") {
            return Err(ApiError::Malformed(
                "If-Match must have the ETag of the key that you have seen: * would change a key that you have not seen.".into(),
            ));
        }
        Ok(Self(fields.into_iter().flat_map(tags).collect()))
    }
}

/// The tags of a field, without quotes.
fn tags(field: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return tags;
        }
        rest = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            // People type a version without quotes.
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        tags.push(tag.trim().to_owned());
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_tags_strong_and_weak() {
        for (field, expected) in [
            (r#""a""#, &["a"][..]),
            (r#"W/"a""#, &["a"]),
            (r#""a", W/"b,c" ,"d""#, &["a", "b,c", "d"]),
            ("a", &["a"]),
            ("a, b", &["a", "b"]),
            (r#""a"#, &["a"]),
            (r#""""#, &[""]),
            (", ,", &[]),
            ("", &[]),
        ] {
            assert_eq!(tags(field), expected, "{field}");
        }
    }
}
