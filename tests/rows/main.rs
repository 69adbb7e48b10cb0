//! The page `tests/ROWS.md`: which test proves which row of the contract, and what the other rows wait for.
//!
//! `behaviour.txt` and `races.txt` have one row a line: number, title, and the reason why no test proves it yet.

mod scan;

use std::{env, fmt::Write, fs, path::Path};

use scan::{List, Proof};

const HEAD: &str = "# Rows and their tests

What the service promises, row by row, and the mistakes of others that it must not repeat; with the tests that
fail when a row does not hold. `UPDATE_ROWS=1 cargo test -p tests --test rows` writes this page from the comments
above the tests and from the lists in `tests/rows`.
";

struct Row {
    number: usize,
    title: String,
    reason: Option<String>,
}

#[test]
fn every_row_has_a_test_or_a_reason_and_the_page_says_which() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.parent().expect("a workspace");
    let (proofs, mut mistakes) = scan::proofs(root);
    let mut page = HEAD.to_owned();
    for (list, file, title) in [
        (List::Behaviour, "behaviour.txt", "Behaviour"),
        (List::Race, "races.txt", "Races and failures"),
    ] {
        let text = fs::read_to_string(folder.join("rows").join(file)).expect("a list of rows");
        let rows = rows(&text, file, &mut mistakes);
        let proofs: Vec<_> = proofs.iter().filter(|proof| proof.list == list).collect();
        mistakes.extend(contradictions(&rows, &proofs, file));
        write!(page, "\n## {title}\n\n{}", table(&rows, &proofs)).expect("a string takes all");
    }
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

fn rows(text: &str, file: &str, mistakes: &mut Vec<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let mut columns = line.split(" | ").map(str::to_owned);
        let number = columns.next().and_then(|number| number.parse().ok());
        let row = (number, columns.next(), columns.next(), columns.next());
        match row {
            (Some(number), Some(title), reason, None) if number == rows.len() + 1 => {
                rows.push(Row {
                    number,
                    title,
                    reason,
                });
            }
            _ => mistakes.push(format!(
                "{file}: not row {}, a title and perhaps a reason: {line}",
                rows.len() + 1
            )),
        }
    }
    rows
}

fn contradictions(rows: &[Row], proofs: &[&Proof], file: &str) -> Vec<String> {
    let unknown = proofs
        .iter()
        .filter(|proof| !(1..=rows.len()).contains(&proof.row))
        .map(|proof| {
            let Proof {
                row, test, path, ..
            } = proof;
            format!("{path}: {test} names row {row}, which {file} does not have")
        });
    let rows = rows.iter().filter_map(|Row { number, reason, .. }| {
        let proved = proofs.iter().any(|proof| proof.row == *number);
        match (proved, reason) {
            (true, Some(reason)) => Some(format!(
                "{file}: row {number} has a test and a reason to have none: {reason}"
            )),
            (false, None) => Some(format!(
                "{file}: row {number} has neither a test nor a reason to have none"
            )),
            _ => None,
        }
    });
    unknown.chain(rows).collect()
}

fn table(rows: &[Row], proofs: &[&Proof]) -> String {
    let mut table = "| Row | What it says | Proved by |\n|---|---|---|\n".to_owned();
    for Row {
        number,
        title,
        reason,
    } in rows
    {
        let mut tests: Vec<_> = proofs
            .iter()
            .filter(|proof| proof.row == *number)
            .map(
                |Proof { test, path, .. }| match path.strip_prefix("tests/") {
                    Some(path) => format!("[{test}]({path})"),
                    None => format!("[{test}](../{path})"),
                },
            )
            .collect();
        tests.dedup();
        let tests = match reason {
            Some(reason) => format!("*{reason}*"),
            None => tests.join(", "),
        };
        writeln!(table, "| {number} | {title} | {tests} |").expect("a string takes all");
    }
    table
}
