//! The functions of `tests::fuzz` over their corpora, and over some thousand inputs that are made of those, the same ones each time.

mod mutation;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tests::fuzz;

use mutation::Mutations;

// proves: quoted-key-accepted, key-escapes-decoded, bad-quoting-refused, key-parameters-ignored
// proves: malformed-parameters-refused, bare-key-equals-quoted, non-string-key-refused
#[test]
fn any_field_value_is_a_key_exactly_where_another_parser_reads_a_string() {
    over("key", 100_000, fuzz::key::check);
}

// proves: quoted-key-accepted, tab-in-key-refused, non-ascii-key-refused, key-escapes-decoded, bad-quoting-refused
#[test]
fn each_byte_is_in_a_string_or_refused_as_another_parser_has_it() {
    for byte in 0..=u8::MAX {
        for text in [
            &b"\"%\""[..],
            b"\"\\%\"",
            b"%",
            b"\"a\"%",
            b"\"a\";%",
            b"\"a\";a%",
            b"\"a\";a=%",
        ] {
            let value = text
                .iter()
                .map(|&part| if part == b'%' { byte } else { part });
            fuzz::key::check(&value.collect::<Vec<_>>());
        }
    }
}

// proves: json-layout-ignored, equal-numbers-equal, numbers-beyond-double-differ, invalid-json-bytewise
// proves: repeated-json-names-bytewise
#[test]
fn any_text_has_the_form_of_its_exact_value_or_none() {
    over("json", 100_000, fuzz::json::check);
}

// proves: damaged-record-frees-key
#[test]
fn any_stored_bytes_mean_what_they_say_or_are_refused() {
    over("stored", 1_500, fuzz::stored::check);
}

// proves: any-request-runs-once
#[test]
fn any_request_with_a_key_runs_once_at_most() {
    over("http", 8_000, fuzz::http::check);
}

/// Names the inputs for which the check panics.
fn over(target: &str, mutations: usize, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(folder.join(target)).expect("a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let files = files.iter();
    let corpus: Vec<_> = files.map(|file| fs::read(file).expect("a file")).collect();
    assert!(!corpus.is_empty());
    let inputs = corpus.iter().cloned();
    let inputs = inputs.chain(Mutations::of(&corpus).take(mutations));
    let failed = inputs.filter(|input| catch_unwind(AssertUnwindSafe(|| check(input))).is_err());
    let failed: Vec<_> = failed.take(5).collect();
    let shown: Vec<_> = failed
        .iter()
        .map(|input| input.escape_ascii().to_string())
        .collect();
    assert!(failed.is_empty(), "{target}: {shown:#?}");
}
