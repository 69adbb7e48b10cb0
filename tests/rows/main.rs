//! The page `tests/ROWS.md`: which tests prove which row of the contract, and why the other rows have none.
//!
//! `behaviour.txt` and `races.txt` have one row a line: slug, text, and the reason why no test proves it yet.

mod scan;

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

use scan::Proof;

const LISTS: [(&str, &str); 2] = [
    ("behaviour.txt", "Behaviour"),
    ("races.txt", "Races and failures"),
];

const MAX_LINE: usize = 200;

const HEAD: &str = "# Rows and their tests

What the service promises, row by row, and then the mistakes of others that it must not repeat. Below each row are
the tests that fail when it does not hold. `UPDATE_ROWS=1 cargo test -p tests --test rows` writes this page from the
comments above the tests and from the lists in `tests/rows`.
";

struct Row {
    slug: String,
    text: String,
    reason: Option<String>,
    /// File and line of the list.
    place: String,
}

#[test]
fn every_row_has_a_test_or_a_reason_and_the_page_says_which() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.parent().expect("a workspace");
    let lists = LISTS.map(|(file, title)| {
        let list = fs::read_to_string(folder.join("rows").join(file)).expect("a list of rows");
        (title, rows(&list, file))
    });
    let proofs = scan::proofs(root, &["crates", "tests"]);
    let mut mistakes = mistakes(lists.iter().flat_map(|(_, rows)| rows), &proofs);
    let page = page(&lists, &proofs);
    let long = page.lines().filter(|line| line.len() > MAX_LINE);
    mistakes.extend(long.map(|line| format!("tests/ROWS.md: above {MAX_LINE} bytes: {line}")));
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));

    let path = folder.join("ROWS.md");
    if env::var_os("UPDATE_ROWS").is_some() {
        fs::write(&path, &page).expect("a page that can be written");
    }
    assert!(
        fs::read_to_string(&path).is_ok_and(|committed| committed == page),
        "tests/ROWS.md does not say what the tests say; \
         run `UPDATE_ROWS=1 cargo test -p tests --test rows` and commit it",
    );
}

#[test]
fn each_attack_in_the_security_policy_has_rows_that_tests_prove() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let policy = fs::read_to_string(root.join("SECURITY.md")).expect("a policy");
    let proofs = scan::proofs(root, &["crates", "tests"]);
    let is_proven = |slug: &str| proofs.iter().any(|proof| proof.slug == slug);

    let attacks = policy
        .split("\n## ")
        .find(|section| section.starts_with("Attacks"));
    let is_attack = |line: &&str| line.starts_with("| ") && !line.starts_with("| Attack |");
    let attacks: Vec<_> = attacks
        .expect("a section")
        .lines()
        .filter(is_attack)
        .collect();
    assert!(attacks.len() > 20, "{attacks:?}");
    for attack in attacks {
        let slugs: Vec<_> = attack.split("tests/ROWS.md#").skip(1).collect();
        assert!(
            !slugs.is_empty(),
            "SECURITY.md: no row for this attack: {attack}"
        );
        for link in slugs {
            let slug = link.split(')').next().expect("a slug");
            assert!(is_proven(slug), "SECURITY.md: no test proves `{slug}`");
        }
    }
}

fn rows(list: &str, file: &str) -> Vec<Row> {
    let row = |(number, line): (usize, &str)| {
        let place = format!("{file}:{number}");
        let columns: Vec<_> = line.split(" | ").map(str::to_owned).collect();
        assert!(
            (2..=3).contains(&columns.len()) && is_slug(&columns[0]),
            "{place}: not `two-to-five-words | text` or `two-to-five-words | text | reason`: {line}"
        );
        Row {
            slug: columns[0].clone(),
            text: columns[1].clone(),
            reason: columns.get(2).cloned(),
            place,
        }
    };
    (1..).zip(list.lines()).map(row).collect()
}

fn is_slug(text: &str) -> bool {
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (2..=5).contains(&text.split('-').count()) && text.split('-').all(is_word)
}

fn mistakes<'a>(rows: impl Iterator<Item = &'a Row>, proofs: &[Proof]) -> Vec<String> {
    let (mut slugs, mut mistakes) = (BTreeSet::new(), Vec::new());
    for row in rows {
        let Row { slug, place, .. } = row;
        if !slugs.insert(slug.as_str()) {
            mistakes.push(format!("{place}: another row is called `{slug}`, too"));
        }
        let is_proven = proofs.iter().any(|proof| proof.slug == *slug);
        if is_proven && row.reason.is_some() {
            mistakes.push(format!(
                "{place}: `{slug}` has a test, and a reason for none"
            ));
        }
        if !is_proven && row.reason.is_none() {
            mistakes.push(format!(
                "{place}: no test proves `{slug}`; write `// proves: {slug}` above one, or give a reason here"
            ));
        }
    }
    let unknown = proofs
        .iter()
        .filter(|proof| !slugs.contains(proof.slug.as_str()));
    mistakes.extend(unknown.map(|Proof { slug, test, path }| {
        format!("{path}: {test} proves `{slug}`, and no list in tests/rows has such a row")
    }));
    mistakes
}

fn page(lists: &[(&str, Vec<Row>)], proofs: &[Proof]) -> String {
    let mut page = HEAD.to_owned();
    for (title, rows) in lists {
        let _ = write!(page, "\n## {title}\n");
        page.extend(rows.iter().map(|row| row.section(proofs)));
    }
    page
}

impl Row {
    fn section(&self, proofs: &[Proof]) -> String {
        let Self {
            slug, text, reason, ..
        } = self;
        let proofs = proofs.iter().filter(|proof| proof.slug == *slug);
        let mut items: Vec<_> = proofs
            .map(
                |Proof { test, path, .. }| match path.strip_prefix("tests/") {
                    Some(path) => format!("- [{test}]({path})\n"),
                    None => format!("- [{test}](../{path})\n"),
                },
            )
            .collect();
        items.dedup();
        items.extend(reason.iter().map(|reason| format!("- *{reason}*\n")));
        format!("\n### {slug}\n\n{text}\n\n{}", items.concat())
    }
}

fn proof(slug: &str) -> Proof {
    Proof {
        slug: slug.to_owned(),
        test: "a_test".to_owned(),
        path: "a.rs".to_owned(),
    }
}

#[test]
fn a_row_without_a_test_needs_a_reason() {
    let rows = rows("first-row | one\nsecond-row | two | later", "list.txt");
    assert_eq!(
        mistakes(rows.iter(), &[]),
        [
            "list.txt:1: no test proves `first-row`; write `// proves: first-row` above one, or give a reason here"
        ]
    );
    assert_eq!(
        mistakes(rows.iter(), &[proof("first-row"), proof("second-row")]),
        ["list.txt:2: `second-row` has a test, and a reason for none"]
    );
}

#[test]
fn a_slug_that_no_list_has_is_a_mistake() {
    let rows = rows("first-row | one", "list.txt");
    assert_eq!(
        mistakes(rows.iter(), &[proof("first-row"), proof("frist-row")]),
        ["a.rs: a_test proves `frist-row`, and no list in tests/rows has such a row"]
    );
}

#[test]
fn a_slug_of_two_rows_is_a_mistake() {
    let (first, second) = (
        rows("one-row | one", "a.txt"),
        rows("one-row | two", "b.txt"),
    );
    assert_eq!(
        mistakes(first.iter().chain(&second), &[proof("one-row")]),
        ["b.txt:1: another row is called `one-row`, too"]
    );
}

#[test]
fn a_slug_is_two_to_five_words() {
    assert!(is_slug("stored-202-stays-202"));
    for text in [
        "47",
        "word",
        "Two-words",
        "two--words",
        "a-b-c-d-e-f",
        "one two",
        "",
    ] {
        assert!(!is_slug(text), "{text}");
    }
}
