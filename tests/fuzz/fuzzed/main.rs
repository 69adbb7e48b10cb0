//! The functions of this package over their corpora, and over inputs that are made of those: some thousand, the same ones each time, or
//! with `FUZZ_SECONDS` as many as so many seconds have, others each time.

mod asked;
mod mutation;
mod saved;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use asked::{Asked, Search};
use mutation::Mutations;
use saved::UnderWay;

// proves: quoted-key-accepted, key-escapes-decoded, bad-quoting-refused, key-parameters-ignored
// proves: malformed-parameters-refused, bare-key-equals-quoted, non-string-key-refused
#[test]
fn any_field_value_is_a_key_exactly_where_another_parser_reads_a_string() {
    over("key", 100_000, fuzzed::key::check);
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
            fuzzed::key::check(&value.collect::<Vec<_>>());
        }
    }
}

// proves: json-layout-ignored, equal-numbers-equal, numbers-beyond-double-differ, invalid-json-bytewise
// proves: repeated-json-names-bytewise
#[test]
fn any_text_has_the_form_of_its_exact_value_or_none() {
    over("json", 100_000, fuzzed::json::check);
}

// proves: damaged-record-frees-key
#[test]
fn any_stored_bytes_mean_what_they_say_or_are_refused() {
    over("stored", 1_500, fuzzed::stored::check);
}

// proves: any-request-runs-once
#[test]
fn any_request_with_a_key_runs_once_at_most() {
    over("http", 8_000, fuzzed::http::check);
}

/// Gives the function what is asked for: usually its corpus and so many mutations.
fn over(target: &str, mutations: usize, check: impl Fn(&[u8])) {
    match Asked::by_environment() {
        Asked::Usual => usual(target, mutations, check),
        Asked::Search(search) => find(target, search, check),
        Asked::Input(path) => check(&fs::read(path).expect("a file")),
    }
}

/// Names the inputs for which the check panics.
fn usual(target: &str, mutations: usize, check: impl Fn(&[u8])) {
    let corpus = corpus(target);
    let inputs = corpus.iter().cloned();
    let inputs = inputs.chain(Mutations::of(&corpus, 0).take(mutations));
    let failed = inputs.filter(|input| fails(&check, input));
    let failed: Vec<_> = failed.take(5).collect();
    let shown: Vec<_> = failed
        .iter()
        .map(|input| input.escape_ascii().to_string())
        .collect();
    assert!(failed.is_empty(), "{target}: {shown:#?}");
}

/// Searches for one input for which the check panics, and saves it. A check may also end the whole program: then the same inputs are given
/// once more, each of which is written down first.
fn find(target: &str, search: Search, check: impl Fn(&[u8])) {
    let Search { seed, time, .. } = search;
    let corpus = corpus(target);
    let mut under_way = search.is_repeated.then(|| UnderWay::new(target, seed));
    asked::say(&match &under_way {
        Some(file) => format!(
            "{target}: the input under way is in {}",
            file.path().display()
        ),
        None => format!("{target}: repeat these inputs with FUZZ_SEED={seed}"),
    });
    let begun = Instant::now();
    let mut checked = 0_u64;
    let goes_on = |_: &Vec<u8>| time.is_none_or(|time| begun.elapsed() < time);
    for input in Mutations::of(&corpus, seed).take_while(goes_on) {
        if let Some(file) = &mut under_way {
            file.write(&input);
        }
        checked += 1;
        if fails(&check, &input) {
            let path = saved::keep(target, seed, &input).display().to_string();
            let shown = input.escape_ascii();
            panic!(
                "{target}: input {checked} of FUZZ_SEED={seed} fails: {shown}\nrepeat it with FUZZ_INPUT={path}"
            );
        }
    }
    asked::say(&format!("{target}: {checked} inputs"));
}

fn fails(check: &impl Fn(&[u8]), input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| check(input))).is_err()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(folder.join(target)).expect("a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let files = files.iter();
    let corpus: Vec<_> = files.map(|file| fs::read(file).expect("a file")).collect();
    assert!(!corpus.is_empty());
    corpus
}
