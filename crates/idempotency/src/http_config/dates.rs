//! Times as header fields have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;

/// The last date that was written: all responses that are stored within a second have the same.
#[derive(Debug, Default)]
pub(crate) struct Dates(Mutex<Option<(u64, HeaderValue)>>);

impl Dates {
    /// This time as a date; `None` if HTTP has no date for it.
    pub(crate) fn date(&self, time: SystemTime) -> Option<HeaderValue> {
        /// From the year 10,000 on there are none.
        const NO_DATE: Duration = Duration::from_secs(253_402_300_800);
        let since_1970 = time.duration_since(UNIX_EPOCH).ok();
        let second = since_1970.filter(|since| *since < NO_DATE)?.as_secs();
        let mut last = self.0.lock();
        if let Some((at, date)) = &*last
            && *at == second
        {
            return Some(date.clone());
        }
        let text = httpdate::fmt_http_date(time);
        let date = HeaderValue::from_maybe_shared(Bytes::from(text)).ok()?;
        *last = Some((second, date.clone()));
        Some(date)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Dates;

    #[test]
    fn each_second_has_its_date() {
        let dates = Dates::default();
        let date = |milliseconds| {
            let date = dates.date(UNIX_EPOCH + Duration::from_millis(milliseconds));
            date.expect("a date").to_str().expect("a text").to_owned()
        };
        let first = "Thu, 01 Jan 1970 00:00:01 GMT";
        let texts = [1000, 1999, 2000, 1000].map(date);
        assert_eq!(
            texts,
            [first, first, "Thu, 01 Jan 1970 00:00:02 GMT", first]
        );
    }
}
