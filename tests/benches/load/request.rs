//! A booking, as a client sends it.

use uuid::Uuid;

const BOOKING: &str = r#"{"service_id":"haircut-long-with-colour","customer_name":"Ann-Kathrin Oberbichler-Mayr","date":"2026-12-01","time":"10:00"}"#;

/// A request, whose key is overwritten each time if it has one.
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    key: usize,
}

impl Request {
    pub(crate) fn under_keys(path: &str) -> Self {
        const FIELD: &str = "idempotency-key: ";
        let mut request = Self::new(path, &format!("{FIELD}{}\r\n", Uuid::nil()));
        let field = find(&request.bytes, FIELD.as_bytes()).expect("the field");
        request.key = field + FIELD.len();
        request
    }

    pub(crate) fn new(path: &str, key: &str) -> Self {
        let length = BOOKING.len();
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: load\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n{key}\r\n{BOOKING}"
        );
        Self {
            bytes: bytes.into_bytes(),
            key: 0,
        }
    }

    pub(crate) fn under(&mut self, key: Uuid) -> &[u8] {
        key.hyphenated().encode_lower(&mut self.bytes[self.key..]);
        &self.bytes
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
