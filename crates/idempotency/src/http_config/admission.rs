//! Requests that are refused only where the application says so.

use http::HeaderMap;

use super::HttpConfig;
use crate::IdempotencyKey;

impl HttpConfig {
    /// Refuses a key of fewer characters from a caller that cannot be told from others: one without a [`Scope`](crate::Scope) and
    /// without credentials.
    ///
    /// ```
    /// use idempotency::HttpConfig;
    ///
    /// let http = HttpConfig::new().with_min_anonymous_key_length(16);
    /// ```
    ///
    /// All such callers share one space of keys, so a client that sends another one's key and request gets the other one's
    /// response. A key of 16 random characters cannot be guessed, and two clients do not choose it by chance. A shorter one gets 400
    /// [`key-malformed`](crate::problems#key-malformed), wherever the [key comes from](crate::key::KeyRequest). By default a key of any length is
    /// accepted.
    ///
    /// A retry with a short key whose first attempt ran before this was set gets 400 too, and not its stored response. So set it before clients
    /// use such keys, or once they have been told and their keys have expired.
    ///
    /// # Panics
    ///
    /// If no key is as long: the longest has [255 characters](IdempotencyKey::MAX_LENGTH).
    #[must_use]
    pub const fn with_min_anonymous_key_length(mut self, characters: usize) -> Self {
        assert!(
            characters <= IdempotencyKey::MAX_LENGTH,
            "with_min_anonymous_key_length: a key has at most 255 characters"
        );
        self.min_anonymous_key_length = characters;
        self
    }

    /// Refuses requests without a key that have the field `Early-Data`, by 425 [`early-data`](crate::problems#early-data).
    ///
    /// ```
    /// use idempotency::HttpConfig;
    ///
    /// let http = HttpConfig::new().without_keyless_early_data();
    /// ```
    ///
    /// A proxy that accepts TLS 1.3 early data (0-RTT) adds the field (RFC 8470). An attacker can record such a request and send it again, and without a
    /// key each copy runs. The client repeats a refused request after the handshake. With a key early data goes on: until the key
    /// expires, a copy gets the stored response.
    ///
    /// This protects the methods that keys protect, such as POST. A service that accepts early data itself has to add the field.
    #[must_use]
    pub const fn without_keyless_early_data(mut self) -> Self {
        self.refuses_keyless_early_data = true;
        self
    }

    /// Whether these fields belong to early data that is refused if it has no key. RFC 8470 section 5.1: several fields, and any other
    /// value, say the same as `1`.
    pub(crate) fn refuses_without_key(&self, headers: &HeaderMap) -> bool {
        self.refuses_keyless_early_data && headers.contains_key("early-data")
    }
}
