//! The origin of a record: the part of its bytes that the first claim writes and that never changes.

use std::time::SystemTime;

use bytes::{Buf, Bytes};

use super::micros;
use crate::labels::Labels;

/// The longest text, in bytes, whose length can be stored. A longer one is cut.
const MAX_TEXT: usize = u16::MAX as usize - 1;

/// The labels as `claim.lua` puts them after the time of the claim.
pub(super) fn labels(labels: &Labels) -> Vec<u8> {
    let texts = [labels.route(), labels.label()].map(|text| text.map(cut));
    let mut bytes = Vec::new();
    for text in texts {
        // Length 0 means no text, and length 1 an empty one.
        let length = text.map_or(0, |text| text.len() + 1);
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    for text in texts.into_iter().flatten() {
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// When the key was first claimed, and with which labels. The bytes that follow are left in place.
pub(super) fn read(bytes: &mut Bytes) -> Option<(Option<SystemTime>, Labels)> {
    let created_at = micros::time(bytes.try_get_u64().ok()?)?;
    let route_length = bytes.try_get_u16().ok()?;
    let label_length = bytes.try_get_u16().ok()?;
    let route = text(bytes, route_length)?;
    let label = text(bytes, label_length)?;
    let labels = Labels::new(route.as_deref(), label.as_deref());
    Some((Some(created_at), labels))
}

/// A damaged text is shown as it is, because the scripts do not check it either and continue with the record.
#[expect(
    clippy::option_option,
    reason = "a text may be missing where the bytes are whole"
)]
fn text(bytes: &mut Bytes, length: u16) -> Option<Option<String>> {
    let Some(length) = usize::from(length).checked_sub(1) else {
        return Some(None);
    };
    if bytes.len() < length {
        return None;
    }
    let text = bytes.split_to(length);
    Some(Some(String::from_utf8_lossy(&text).into_owned()))
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(route: Option<&str>, label: Option<&str>) -> Option<(Labels, Bytes)> {
        let mut bytes = vec![0; 8];
        bytes.extend(labels(&Labels::new(route, label)));
        bytes.extend(b"booked");
        let mut bytes = Bytes::from(bytes);
        let (created_at, labels) = read(&mut bytes)?;
        created_at.map(|_| (labels, bytes))
    }

    #[test]
    fn labels_are_read_as_they_were_written_and_nothing_behind_them() {
        for route in [None, Some(""), Some("POST /bookings/{id}")] {
            for label in [None, Some(""), Some("\"Zo\u{eb}\" \u{1f6cf}")] {
                let expected = (Labels::new(route, label), Bytes::from_static(b"booked"));
                assert_eq!(read_back(route, label), Some(expected));
            }
        }
    }

    #[test]
    fn a_text_that_has_no_place_is_cut_between_two_letters() {
        let long = "\u{e9}".repeat(40_000);
        let (labels, rest) = read_back(Some(&long), Some("ann")).expect("labels");
        assert_eq!(labels.route().map(str::len), Some(MAX_TEXT));
        assert_eq!(labels.label(), Some("ann"));
        assert_eq!(rest, "booked");
    }
}
