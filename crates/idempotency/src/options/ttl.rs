use std::time::Duration;

use super::grace;

/// How long this response is replayed, as an extension of the response, if that is longer than the ttl of the
/// [`Options`](crate::Options).
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Extension, http::StatusCode, response::IntoResponse};
/// use idempotency::{idempotent, options::Ttl};
///
/// #[idempotent(ttl_seconds = 86400)]
/// async fn order(book: String) -> impl IntoResponse {
///     // What is printed on demand arrives in two weeks, and may be requested until then.
///     let ttl = Ttl(Duration::from_secs(14 * 86400));
///     (StatusCode::CREATED, Extension(ttl), format!("{book} is ordered"))
/// }
/// ```
///
/// It counts from completion, like the ttl of the options, and clients are told its end. It applies to tombstones too. A response of which
/// nothing is stored ignores it.
///
/// A shorter one than that of the options has no effect. Clients know the ttl of the options from the API's description, and
/// rely on it if the response with its date is lost: they would send the request again after the key is gone, and it would run twice.
/// So give the options the shortest ttl. An invalid value is not an error, because the work is already done: more
/// than ten years (315360000 seconds) count as ten years, and fractions of a second are dropped.
///
/// The store keeps the response longer than clients are told, by as much as with the ttl of the options: a tenth of that, but at
/// most a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(pub Duration);

/// The longest ttl: ten years.
pub(super) const MAX_TTL: Duration = Duration::from_secs(315_360_000);

impl Ttl {
    /// How long a store keeps a response that is replayed for this long, if that is longer than `ttl`.
    ///
    /// The difference is that of the options' ttl: a replay derives the announced end from it.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "only responses have one")
    )]
    pub(crate) fn kept_in_place_of(self, ttl: Duration) -> Duration {
        let own = Duration::from_secs(self.0.as_secs()).min(MAX_TTL);
        own.max(ttl) + grace(ttl)
    }
}
