//! The table of the contract's sentences, and the texts in which they stand.

const TABLE: &str = include_str!("../../../src/docs/contract.md");

const STORE: &str = include_str!("../../../src/store.rs");

/// Where the contract says something of its own, beside the trait.
const OTHERS: [&str; 4] = [
    include_str!("../../../src/docs/custom_store.md"),
    include_str!("../../../src/record.rs"),
    include_str!("../../../src/store/claim.rs"),
    include_str!("../../../src/store/resolution.rs"),
];

/// A row of the first table.
pub(super) struct Row {
    pub(super) store: &'static str,
    pub(super) functions: Vec<&'static str>,
}

pub(super) fn rows() -> Vec<Row> {
    let rows = cells().filter_map(|cells| match cells[..] {
        [_, store, functions] => Some(Row {
            store,
            functions: functions
                .split(", ")
                .map(|name| name.trim_matches(['[', ']', '`']))
                .collect(),
        }),
        _ => None,
    });
    rows.collect()
}

/// The cells of each row of both tables.
fn cells() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = TABLE.lines().filter_map(|line| {
        let row = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(row.split('|').map(str::trim).collect::<Vec<_>>())
    });
    rows.filter(|cells| cells[0] != "The contract says")
}

/// A text without its marks: the words of documentation, on one line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines: Vec<_> = lines
        .map(|line| line.trim_start_matches("//!").trim_start_matches("///"))
        .collect();
    let is_rule = |number: usize| lines.get(number).is_some_and(|line| line.contains("|---"));
    // Neither the head of a table nor the rule below it.
    let words = (0..lines.len()).filter(|number| !is_rule(*number) && !is_rule(number + 1));
    let words = words
        .map(|number| lines[number])
        .collect::<Vec<_>>()
        .join(" ");
    let mut plain = String::new();
    let mut rest = words.as_str();
    // The target of each link goes.
    while let Some((before, after)) = rest.split_once("](") {
        plain += before;
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain += rest;
    let plain = plain.replace(['`', '[', ']'], "").replace('|', ":");
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ").replace(" :", ":")
}

// proves: wrong-store-found
#[test]
fn the_contract_has_the_sentences_of_the_table() {
    let texts = plain(&(STORE.to_owned() + &OTHERS.concat()));
    for cells in cells() {
        let sentence = plain(cells[0]);
        assert!(texts.contains(&sentence), "no text says: {sentence}");
    }
}

// proves: wrong-store-found
#[test]
fn the_table_has_every_sentence_of_the_contract() {
    let mut sentences: Vec<_> = cells().map(|cells| plain(cells[0])).collect();
    // A sentence may be a part of another.
    sentences.sort_by_key(|sentence| usize::MAX - sentence.len());
    sentences.retain(|sentence| !sentence.is_empty());
    let mut left = plain(&(between("A store promises that", "[`Entry`] has these") + &of_verbs()));
    for sentence in &sentences {
        left = left.replace(sentence, "·");
    }
    let words: Vec<_> = left
        .split('·')
        .filter(|rest| rest.chars().any(char::is_alphabetic))
        .collect();
    assert!(words.is_empty(), "{words:#?}");
}

fn between(start: &str, end: &str) -> String {
    let (_, text) = STORE.split_once(start).expect("the start");
    let (text, _) = text.split_once(end).expect("the end");
    text.to_owned()
}

/// The documentation of the trait's methods.
fn of_verbs() -> String {
    let verbs = between("pub trait Store", "\n}\n");
    let docs = verbs.lines().filter(|line| line.trim().starts_with("///"));
    docs.collect::<Vec<_>>().join("\n")
}
