//! The rules of a booking. Each error says what to send, and does not repeat what the client sent.

use chrono::{NaiveDate, NaiveTime};

use crate::{
    booking::{Change, MAX_CHARACTERS, NewBooking, Status},
    json::{Fields, FromFields},
};

impl FromFields for NewBooking {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        // All are read before the first error is returned, so that one response lists everything that is wrong.
        let service_id = fields.required("service_id", text);
        let customer_name = fields.required("customer_name", text);
        let date = fields.required("date", date);
        let time = fields.required("time", time);
        Some(Self {
            service_id: service_id?,
            customer_name: customer_name?,
            date: date?,
            time: time?,
        })
    }
}

impl FromFields for Change {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        const FIELDS: [&str; 5] = ["service_id", "customer_name", "date", "time", "status"];
        if !fields.has_any(&FIELDS) {
            for field in FIELDS {
                fields.refuse(
                    field,
                    "is missing, like all others: send at least one of them",
                );
            }
        }
        Some(Self {
            service_id: fields.optional("service_id", text),
            customer_name: fields.optional("customer_name", text),
            date: fields.optional("date", date),
            time: fields.optional("time", time),
            status: fields.optional("status", status),
        })
    }
}

fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().count() > MAX_CHARACTERS {
        return Err("must have 1 to 200 characters and must not be only white space");
    }
    if text.chars().any(char::is_control) {
        return Err("must not have control characters, such as line breaks");
    }
    Ok(text.into())
}

fn date(text: &str) -> Result<NaiveDate, &'static str> {
    // The parser alone would accept 2026-1-5, +2026-01-05 and surrounding white space.
    shaped(text, b"dddd-dd-dd")
        .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
        .flatten()
        .ok_or("must be a day of the calendar, written YYYY-MM-DD, such as 2026-12-31")
}

fn time(text: &str) -> Result<NaiveTime, &'static str> {
    shaped(text, b"dd:dd")
        .then(|| NaiveTime::parse_from_str(text, "%H:%M").ok())
        .flatten()
        .ok_or("must be a time from 00:00 to 23:59, written HH:MM, such as 09:30")
}

fn status(text: &str) -> Result<Status, &'static str> {
    Status::from_name(text).ok_or("must be \"confirmed\" or \"cancelled\"")
}

/// Whether the text has this shape, where `d` stands for a digit and all else for itself.
fn shaped(text: &str, shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            _ => byte == *shape,
        })
}

#[cfg(test)]
mod tests;
