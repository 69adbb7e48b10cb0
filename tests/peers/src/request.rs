//! The requests that every server gets.

/// A booking, and how it is sent.
#[derive(Clone, Default)]
pub(crate) struct Booking {
    pub(crate) key: Option<String>,
    pub(crate) guest: String,
    pub(crate) pause_ms: u32,
    /// How the first run ends, if not well: `panics` or `fails`.
    pub(crate) first_run: Option<&'static str>,
    /// The header field that says who sends it.
    pub(crate) caller: Option<String>,
}

impl Booking {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let ending = self.first_run.unwrap_or("succeeds");
        let body = format!(
            r#"{{"guest":"{}","room":"207","arrival":"2030-08-07","nights":2,"pause_ms":{},"first_run":"{ending}"}}"#,
            self.guest, self.pause_ms
        );
        let mut head = String::with_capacity(256 + body.len());
        head.push_str(
            "POST /bookings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n",
        );
        if let Some(key) = &self.key {
            head.push_str("Idempotency-Key: ");
            head.push_str(key);
            head.push_str("\r\n");
        }
        if let Some(caller) = &self.caller {
            head.push_str(caller);
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        head.push_str(&body);
        head.into_bytes()
    }
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A key in the form of a UUID: a different one for each pair.
pub(crate) fn key(group: u64, number: u64) -> String {
    format!("{group:08x}-5eed-4000-8000-{number:012x}")
}
