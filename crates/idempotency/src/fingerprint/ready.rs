//! Fingerprints that applications need again and again.

use bytes::Bytes;
use http::request::Parts;

use super::{digest, members::without};

/// A [`FingerprintFn`](crate::FingerprintFn) for which the whole body counts, except for members of JSON that differ from one
/// attempt to the next.
///
/// ```
/// use idempotency::{Options, idempotent, json_without};
///
/// #[idempotent(fingerprint = json_without!("sent_at", "meta.trace_id"))]
/// async fn create_order(order: String) -> String {
///     order
/// }
///
/// // For a layer, or for all handlers of an engine:
/// const OPTIONS: Options = Options::new().fingerprint(json_without!("sent_at"));
/// ```
///
/// A member is named by its path: names between dots, or a JSON Pointer (RFC 6901) such as `/meta/trace.id` for names that have
/// dots themselves. A number is the index in an array, and `*` stands for every element or member: `items.*.sent_at`. A path to which
/// the body has nothing changes nothing.
///
/// Everything else is compared as without this option: JSON by its [value](crate::canonical_json), and the bytes of a body that is
/// not JSON.
///
/// A change of the list makes retries of stored requests whose members differ into different requests, which get 422 until those
/// have expired. Do not name a member that decides what happens: a request with another amount under the same key would get the
/// response to the first one.
///
/// A path that is empty, or has an empty name between dots, does not compile. The function of the same name is for a
/// `FingerprintFn` of your own: [`json_without`](crate::fingerprint::json_without()).
#[macro_export]
macro_rules! json_without {
    ($($member:expr),+ $(,)?) => {{
        const MEMBERS: &[&str] = &[$($member),+];
        const _: () = $crate::fingerprint::check_paths(MEMBERS);
        const FINGERPRINT: $crate::FingerprintFn =
            |_, body| $crate::fingerprint::json_without(body, MEMBERS);
        FINGERPRINT
    }};
}

/// A digest of what counts of a body if members of JSON at these paths do not: for a [`FingerprintFn`](crate::FingerprintFn) of your own.
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
    // A digest has a fixed length, so that more can be put behind it.
    match without(body, members) {
        Some(form) => digest([b"json".as_slice(), &form]),
        None => digest([b"raw".as_slice(), body]),
    }
    .to_vec()
}

/// A [`FingerprintFn`](crate::FingerprintFn) for which nothing of the body counts.
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
/// nobody learns of the difference. Method, path, query and media type still count.
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
