use std::time::Duration;

use super::grace;

/// How long this response is replayed, as an extension of the response, in place of the ttl of the
/// [`Options`](crate::Options).
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Extension, http::StatusCode, response::IntoResponse};
/// use idempotency::{Ttl, idempotent};
///
/// #[idempotent(ttl_seconds = 86400)]
/// async fn hold_seat(seat: String) -> impl IntoResponse {
///     // The seat is held for ten minutes, and so is this response.
///     let ttl = Ttl(Duration::from_secs(600));
///     (StatusCode::CREATED, Extension(ttl), format!("seat {seat} is held"))
/// }
/// ```
///
/// It counts from completion, like the ttl of the options, and clients are told its end. A response that is not stored ignores it.
///
/// The work is done by the time that a response has a ttl, so none is refused: less than a second counts as one second, more
/// than ten years (315360000 seconds) as ten years, and fractions of a second are dropped. Choose one that is longer than clients
/// retry: afterwards the same request runs again.
///
/// The store keeps the response longer than clients are told, by as much as with the ttl of the options: a tenth of that, but at
/// most a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(pub Duration);

/// The longest ttl: ten years.
pub(super) const MAX_TTL: Duration = Duration::from_secs(315_360_000);

impl Ttl {
    /// How long a store keeps a response that is replayed for this long, in place of `ttl`.
    ///
    /// The difference is that of the options' ttl: whoever replays the response has no other to tell its announced end.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "only responses have one")
    )]
    pub(crate) fn kept_in_place_of(self, ttl: Duration) -> Duration {
        let seconds = self.0.as_secs().clamp(1, MAX_TTL.as_secs());
        Duration::from_secs(seconds) + grace(ttl)
    }
}
