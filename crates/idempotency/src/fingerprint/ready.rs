//! Fingerprints that applications need again and again.

use bytes::Bytes;
use http::request::Parts;

use super::{digest, members::without};

/// A digest of what counts of a body if members of JSON at these paths do not: for a [`FingerprintFn`](crate::options::FingerprintFn) of your own.
///
/// ```
/// use axum::http::request::Parts;
/// use bytes::Bytes;
/// use idempotency::{fingerprint::json_without, idempotent};
///
/// /// The version of the interface counts, and when the order was sent does not.
/// fn order(head: &Parts, body: &Bytes) -> Vec<u8> {
///     let mut counts = json_without(body, &["sent_at"]);
///     if let Some(version) = head.headers.get("x-api-version") {
///         counts.extend(version.as_bytes());
///     }
///     counts
/// }
///
/// #[idempotent(fingerprint = order)]
/// async fn create_order(order: String) -> String {
///     order
/// }
/// ```
///
/// The macro [`json_without!`](crate::json_without!) explains the paths, and makes such a function of them alone.
#[must_use]
pub fn json_without(body: &[u8], members: &[&str]) -> Vec<u8> {
    // A digest has a fixed length, so more can be appended to it.
    match without(body, members) {
        Some(form) => digest([b"json".as_slice(), &form]),
        None => digest([b"raw".as_slice(), body]),
    }
    .to_vec()
}

/// A [`FingerprintFn`](crate::options::FingerprintFn) for which nothing of the body counts.
///
/// ```
/// use idempotency::{fingerprint::ignore_body, idempotent};
///
/// /// The key is the number of the order, so a second body under it is a correction that comes too late.
/// #[idempotent(required, fingerprint = ignore_body)]
/// async fn close_order(order: String) -> String {
///     order
/// }
/// ```
///
/// A request with another body under the same key then gets the response to the first one, although nothing was done for it, and
/// no response or log line says that the bodies differ. Method, path, query and media type still count.
#[must_use]
pub fn ignore_body(_: &Parts, _: &Bytes) -> Vec<u8> {
    Vec::new()
}

/// Refuses paths that name nothing, at compile time.
#[doc(hidden)]
pub const fn check_paths(paths: &[&str]) {
    let mut index = 0;
    while index < paths.len() {
        check_path(paths[index].as_bytes());
        index += 1;
    }
}

const fn check_path(path: &[u8]) {
    assert!(
        !path.is_empty(),
        "name a member by its path, such as `meta.trace_id`"
    );
    if path[0] == b'/' {
        return;
    }
    let (mut at, mut begins) = (0, true);
    while at < path.len() {
        assert!(
            !(begins && path[at] == b'.'),
            "a name in the path is empty: write a path such as `meta.trace_id`, or a JSON Pointer"
        );
        assert!(
            !(at == 0 && path[at] == b'$'),
            "a path begins with a member's name: write `meta.trace_id` in place of `$.meta.trace_id`"
        );
        begins = path[at] == b'.';
        at += 1;
    }
    assert!(
        !begins,
        "a name in the path is empty: write a path such as `meta.trace_id`, or a JSON Pointer"
    );
}
