use serde_json::{Value, json};

use super::*;
use crate::{error::ApiError, json::Valid};

/// The body with one member set to another value.
fn with(field: &str, value: Value) -> Value {
    let mut body =
        json!({"service_id": "s1", "customer_name": "Ann", "date": "2026-12-01", "time": "10:00"});
    body[field] = value;
    body
}

fn wrong_fields<T: FromFields>(body: &Value) -> Vec<&'static str> {
    match Valid::<T>::from_slice(body.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(ApiError::Invalid(errors)) => errors.into_iter().map(|error| error.field).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_a_booking_may_consist_of_is_taken() {
    let accepted = [
        ("service_id", json!("s")),
        ("service_id", json!("s".repeat(200))),
        ("customer_name", json!("Zoë")),
        ("customer_name", json!("李")),
        ("customer_name", json!("𝒜".repeat(200))),
        ("customer_name", json!(" Ann Lee ")),
        ("date", json!("2024-02-29")),
        ("date", json!("2026-12-31")),
        ("time", json!("00:00")),
        ("time", json!("23:59")),
        (
            "note",
            json!({"unknown": ["members", "do", "not", "matter"]}),
        ),
        ("status", json!("nothing that a new booking reads")),
    ];
    for (field, value) in accepted {
        let body = with(field, value);
        assert_eq!(wrong_fields::<NewBooking>(&body), [""; 0], "{body}");
    }
}

#[test]
fn what_is_wrong_is_refused_and_named() {
    let refused = [
        ("service_id", json!("")),
        ("service_id", json!("   ")),
        ("service_id", json!("s".repeat(201))),
        ("service_id", json!(7)),
        ("service_id", json!(null)),
        ("customer_name", json!("")),
        ("customer_name", json!(" \u{a0}\u{2003}")),
        ("customer_name", json!("é".repeat(201))),
        ("customer_name", json!("Ann\nLee")),
        ("customer_name", json!("Ann\u{0}")),
        ("customer_name", json!("Ann\u{85}")),
        ("customer_name", json!(["Ann"])),
        ("date", json!("")),
        ("date", json!("2025-02-30")),
        ("date", json!("2025-02-29")),
        ("date", json!("2026-13-01")),
        ("date", json!("2026-00-10")),
        ("date", json!("2026-12-00")),
        ("date", json!("2026-1-5")),
        ("date", json!("26-01-05")),
        ("date", json!("+2026-01-05")),
        ("date", json!("2026/12/01")),
        ("date", json!("2026-12-01T10:00")),
        ("date", json!(" 2026-12-01")),
        ("date", json!("２０２６-12-01")),
        ("date", json!(20_261_201)),
        ("time", json!("24:00")),
        ("time", json!("23:60")),
        ("time", json!("9:30")),
        ("time", json!("09:30:00")),
        ("time", json!("0930")),
        ("time", json!("09:3a")),
        ("time", json!("-1:30")),
        ("time", json!(930)),
    ];
    for (field, value) in refused {
        let body = with(field, value);
        assert_eq!(wrong_fields::<NewBooking>(&body), [field], "{body}");
        assert_eq!(wrong_fields::<Change>(&body), [field], "{body}");
    }
}

#[test]
fn one_response_lists_everything_that_is_wrong() {
    assert_eq!(
        wrong_fields::<NewBooking>(&json!({"date": "tomorrow", "time": "10:00", "service_id": 1})),
        ["service_id", "customer_name", "date"],
    );
    assert_eq!(
        wrong_fields::<NewBooking>(&json!({})),
        ["service_id", "customer_name", "date", "time"],
    );
}

#[test]
fn every_detail_says_what_to_write() {
    let body = json!({"service_id": 1, "date": "soon"}).to_string();
    let Err(ApiError::Invalid(errors)) = Valid::<NewBooking>::from_slice(body.as_bytes()) else {
        panic!("{body} was taken");
    };
    let details: Vec<_> = errors.into_iter().map(|error| error.detail).collect();
    assert_eq!(
        details,
        [
            "must be a string, which must have 1 to 200 characters and must not be only white space",
            "is missing; it must have 1 to 200 characters and must not be only white space",
            "must be a day of the calendar, written YYYY-MM-DD, such as 2026-12-31",
            "is missing; it must be a time from 00:00 to 23:59, written HH:MM, such as 09:30",
        ],
    );
}

#[test]
fn a_change_needs_one_member_and_checks_those_it_has() {
    assert_eq!(wrong_fields::<Change>(&json!({"time": "11:00"})), [""; 0]);
    assert_eq!(
        wrong_fields::<Change>(&json!({"status": "cancelled"})),
        [""; 0]
    );
    assert_eq!(
        wrong_fields::<Change>(&json!({"status": "gone"})),
        ["status"]
    );
    assert_eq!(
        wrong_fields::<Change>(&json!({"status": null, "time": "25:00"})),
        ["time", "status"],
    );
    assert_eq!(
        wrong_fields::<Change>(&json!({"note": "x"})),
        ["service_id", "customer_name", "date", "time", "status"],
    );
}

#[test]
fn a_body_that_is_no_object_is_malformed() {
    for body in ["", "{", "[]", "null", "\"s1\"", "{\"a\":1} x", "\u{feff}{}"] {
        let read = Valid::<NewBooking>::from_slice(body.as_bytes());
        assert!(matches!(read, Err(ApiError::Malformed(_))), "{body}");
    }
}
