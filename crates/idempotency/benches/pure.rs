//! The cost of every protected request before anything is stored: `cargo bench -p idempotency --bench pure`.

use std::fmt::Write as _;

use divan::{Bencher, black_box, counter::BytesCount};
use idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, MemoryStore, Scope, fingerprint::canonical_json,
    key::KeySyntax, store::RecordId,
};

const BOOKING: &str = r#"{"service_id":"haircut-long","customer_name":"Ann-Kathrin Oberbichler","date":"2026-12-01","time":"10:00","note":"by phone","seats":2}"#;
const SORTED: &str = r#"{"customer_name":"Ann-Kathrin Oberbichler","date":"2026-12-01","note":"by phone","seats":2,"service_id":"haircut-long","time":"10:00"}"#;
const SPELLED: &str = r#"{ "time": "10:00", "seats": 2.0, "note": "by\u0020phone", "date": "2026-12-01", "customer_name": "Ann-Kathrin Oberbichler", "service_id": "haircut-long" }"#;

const QUOTED_KEY: &[u8] = br#""8e03978e-40d5-43e8-bc93-6894a57f9324""#;
const BARE_KEY: &[u8] = b"8e03978e-40d5-43e8-bc93-6894a57f9324";

fn main() {
    divan::main();
}

/// Eighty bookings in one body of about 10 KB.
fn batch() -> String {
    let mut batch = String::from("[");
    for index in 0..80 {
        let separator = if index == 0 { "" } else { "," };
        write!(batch, "{separator}{BOOKING}").expect("a string takes what is written to it");
    }
    batch + "]"
}

fn canonical(bencher: Bencher<'_, '_>, text: &str) {
    bencher
        .counter(BytesCount::of_str(text))
        .bench(|| canonical_json(black_box(text.as_bytes())).expect("the text has a form"));
}

#[divan::bench]
fn canonical_json_of_a_booking(bencher: Bencher<'_, '_>) {
    canonical(bencher, BOOKING);
}

#[divan::bench]
fn canonical_json_of_a_sorted_booking(bencher: Bencher<'_, '_>) {
    canonical(bencher, SORTED);
}

#[divan::bench]
fn canonical_json_of_a_booking_spelled_otherwise(bencher: Bencher<'_, '_>) {
    canonical(bencher, SPELLED);
}

#[divan::bench]
fn canonical_json_of_80_bookings(bencher: Bencher<'_, '_>) {
    canonical(bencher, &batch());
}

#[divan::bench]
fn fingerprint_of_a_booking() -> Fingerprint {
    Fingerprint::of(black_box([
        b"POST".as_slice(),
        b"/bookings",
        b"",
        b"",
        b"application/json",
        b"",
        b"json",
        BOOKING.as_bytes(),
    ]))
}

#[divan::bench]
fn key_from_a_quoted_value() -> IdempotencyKey {
    IdempotencyKey::from_field_value(black_box(QUOTED_KEY), KeySyntax::QuotedOrBare)
        .expect("the key is valid")
}

#[divan::bench]
fn key_from_a_bare_value() -> IdempotencyKey {
    IdempotencyKey::from_field_value(black_box(BARE_KEY), KeySyntax::QuotedOrBare)
        .expect("the key is valid")
}

#[divan::bench]
fn record_id_of_a_key(bencher: Bencher<'_, '_>) {
    let idempotency = Idempotency::new(MemoryStore::new());
    let scope = Scope::principal("account/4711");
    let key =
        IdempotencyKey::from_field_value(QUOTED_KEY, KeySyntax::Quoted).expect("the key is valid");
    bencher.bench(|| -> RecordId { idempotency.record_id(black_box(&scope), black_box(&key)) });
}
