//! When the service wants to see the request again.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName,
    header::{DATE, RETRY_AFTER},
};

/// `Retry-After`, in seconds or as a date. A value that is neither says nothing.
pub(super) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Longer than 64 bits of seconds is longer than any deadline.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    from_now(headers, &RETRY_AFTER, now)
}

/// How far this field's date is ahead. The service's own `Date` is the present, if there is one: the two clocks differ.
pub(super) fn from_now(
    headers: &HeaderMap,
    field: &HeaderName,
    now: SystemTime,
) -> Option<Duration> {
    let present = date(headers, &DATE).unwrap_or(now);
    let ahead = date(headers, field)?.duration_since(present);
    Some(ahead.unwrap_or_default())
}

pub(super) fn date(headers: &HeaderMap, field: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(field)?.to_str().ok()?.trim()).ok()
}
