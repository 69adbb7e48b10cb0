//! The macro `json_without!`, which makes a constant of a list of members.

/// A [`FingerprintFn`](crate::options::FingerprintFn) for which the whole body counts, except for members of JSON that differ from one
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
/// dots themselves. A number is the index in an array, and `*` stands for every element or member: `items.*.sent_at`. A path that
/// the body does not contain is ignored.
///
/// A body that is JSON is compared by its [value](crate::fingerprint::canonical_json), whatever its media type says, and any other body,
/// including multipart, by its bytes.
///
/// After the list changes, a retry whose body contains a member that was added to the list or removed from it counts as a
/// different request: it gets 422 until the record of the first request has expired. Do not name a member that decides what happens: a request with another amount under the same key would get the
/// response to the first one.
///
/// A path that is empty, or has an empty name between dots, does not compile. The function of the same name is for a
/// `FingerprintFn` of your own: [`json_without`](crate::fingerprint::json_without()).
#[macro_export]
macro_rules! json_without {
    ($($member:expr),+ $(,)?) => {{
        const MEMBERS: &[&str] = &[$($member),+];
        const _: () = $crate::fingerprint::check_paths(MEMBERS);
        const FINGERPRINT: $crate::options::FingerprintFn =
            |_, body| $crate::fingerprint::json_without(body, MEMBERS);
        FINGERPRINT
    }};
}
