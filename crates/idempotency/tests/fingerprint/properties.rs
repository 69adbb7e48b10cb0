//! Properties of every value and every text.

use std::collections::BTreeMap;

use idempotency::fingerprint::canonical_json;
use proptest::{
    prelude::*,
    sample::{self, Index},
};

use crate::{
    model::{self, Model},
    oracle,
};

/// A JSON value inside others.
fn around(hole: Model, places: &[(Option<String>, Vec<Model>)]) -> Model {
    places
        .iter()
        .fold(hole, |inner, (name, others)| match name {
            None => Model::Array([vec![inner], others.clone()].concat()),
            Some(name) => {
                let others = others.iter().enumerate();
                let mut members: BTreeMap<_, _> = others
                    .map(|(index, other)| (format!("{index}"), other.clone()))
                    .collect();
                members.insert(name.clone(), inner);
                Model::Object(members)
            }
        })
}

fn places() -> impl Strategy<Value = Vec<(Option<String>, Vec<Model>)>> {
    let others = prop::collection::vec(model::leaf(), 0..3);
    prop::collection::vec((prop::option::of(model::text()), others), 0..4)
}

/// Texts that are nearly JSON: pieces of it in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &'static [&'static [u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"{\"a\":",
        b",\"a\":",
        b",\"\\u0061\":",
        b"\"b\"",
        b"\"",
        b"\\",
        b"\\u",
        b"d83d",
        b"\\ude00",
        b"1",
        b"0",
        b"-",
        b".",
        b"e-1",
        b"true",
        b"null",
        b"nul",
        b" ",
        b"\n",
        b"\x00",
        b"\x7f",
        b"\xef\xbb\xbf",
        b"\xc3\xa9",
        b"\xff",
    ];
    prop::collection::vec(sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}

/// A text with a part of it replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (
        model::model(),
        any::<u64>(),
        any::<(Index, Index)>(),
        pieces(),
    )
        .prop_map(|(model, spelling, (start, length), pieces)| {
            let mut text = model.without_numbers().spelled(spelling).into_bytes();
            let start = start.index(text.len() + 1);
            let end = start + length.index(3).min(text.len() - start);
            text.splice(start..end, pieces.into_iter().take(4));
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // proves: json-layout-ignored, equal-numbers-equal
    #[test]
    fn one_value_has_one_form_however_it_is_spelled(
        model in model::model(),
        spellings: (u64, u64),
    ) {
        let (one, other) = (model.spelled(spellings.0), model.spelled(spellings.1));
        let form = canonical_json(one.as_bytes());
        prop_assert!(form.is_some(), "no form: {one}");
        prop_assert_eq!(form, canonical_json(other.as_bytes()), "{} and {}", one, other);
    }

    // proves: numbers-beyond-double-differ, null-and-array-order-count
    #[test]
    fn two_values_have_two_forms(
        one in model::model(),
        other in model::model(),
        spellings: (u64, u64),
    ) {
        let forms = [one.spelled(spellings.0), other.spelled(spellings.1)]
            .map(|text| canonical_json(text.as_bytes()).expect("the model has a form"));
        prop_assert_eq!(forms[0] == forms[1], one == other);
    }

    // proves: numbers-beyond-double-differ, null-and-array-order-count
    #[test]
    fn one_leaf_makes_another_form(
        one in model::leaf(),
        other in model::leaf(),
        places in places(),
        spellings: (u64, u64),
    ) {
        let same = one == other;
        let forms = [around(one, &places).spelled(spellings.0), around(other, &places).spelled(spellings.1)]
            .map(|text| canonical_json(text.as_bytes()).expect("the model has a form"));
        prop_assert_eq!(forms[0] == forms[1], same);
    }

    // proves: repeated-json-names-bytewise, invalid-json-bytewise
    #[test]
    fn what_has_a_form_is_what_serde_reads_in_one_way(text in prop_oneof![pieces(), damaged()]) {
        prop_assert_eq!(
            canonical_json(&text).is_some(),
            oracle::is_unambiguous(&text),
            "{}", String::from_utf8_lossy(&text)
        );
    }

    // proves: invalid-json-bytewise
    #[test]
    fn no_bytes_are_too_odd(text: Vec<u8>) {
        if canonical_json(&text).is_some() {
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok());
        }
    }
}
