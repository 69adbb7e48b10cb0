//! The page `tests/ROWS.md`: which test proves which row of the contract, and what the other rows wait for.
//!
//! `behaviour.txt` and `races.txt` have one row a line: number, title, and the reason why no test proves it yet.

mod scan;

use std::{env, fs, path::Path};

use scan::Proof;

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
    let (mut page, mut mistakes) = (HEAD.to_owned(), Vec::new());
    for (word, file, title) in [
        ("behaviour", "behaviour.txt", "Behaviour"),
        ("race", "races.txt", "Races and failures"),
    ] {
        let text = fs::read_to_string(folder.join("rows").join(file)).expect("a list of rows");
        let rows = rows(&text, file);
        let proofs = scan::proofs(root, &["crates", "tests"], word);
        mistakes.extend(contradictions(&rows, &proofs, file));
        page += &format!("\n## {title}\n\n| Row | What it says | Proved by |\n|---|---|---|\n");
        page.extend(rows.iter().map(|row| row.line(&proofs)));
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

fn rows(text: &str, file: &str) -> Vec<Row> {
    let row = |(number, line): (usize, &str)| {
        let columns: Vec<_> = line.split(" | ").map(str::to_owned).collect();
        let complete = (2..=3).contains(&columns.len()) && columns[0] == number.to_string();
        assert!(complete, "{file}: not `{number} | title | reason`: {line}");
        let (title, reason) = (columns[1].clone(), columns.get(2).cloned());
        Row {
            number,
            title,
            reason,
        }
    };
    (1..).zip(text.lines()).map(row).collect()
}

fn contradictions(rows: &[Row], proofs: &[Proof], file: &str) -> Vec<String> {
    let unknown = proofs
        .iter()
        .filter(|proof| !(1..=rows.len()).contains(&proof.row));
    let unknown = unknown.map(|Proof { row, test, path }| {
        format!("{path}: {test} names row {row}, which {file} does not have")
    });
    let rows = rows.iter().filter_map(|Row { number, reason, .. }| {
        match (proofs.iter().any(|proof| proof.row == *number), reason) {
            (true, Some(_)) => Some(format!(
                "{file}: row {number} has a test, and a reason for none"
            )),
            (false, None) => Some(format!(
                "{file}: row {number} has neither a test nor a reason"
            )),
            _ => None,
        }
    });
    unknown.chain(rows).collect()
}

impl Row {
    fn line(&self, proofs: &[Proof]) -> String {
        let proofs = proofs.iter().filter(|proof| proof.row == self.number);
        let mut links: Vec<_> = proofs
            .map(|Proof { test, path, .. }| (test, path))
            .map(|(test, path)| match path.strip_prefix("tests/") {
                Some(path) => format!("[{test}]({path})"),
                None => format!("[{test}](../{path})"),
            })
            .collect();
        links.dedup();
        links.extend(self.reason.as_ref().map(|reason| format!("*{reason}*")));
        let Self { number, title, .. } = self;
        format!("| {number} | {title} | {} |\n", links.join(", "))
    }
}
