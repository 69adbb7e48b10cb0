//! What the store says of its file.

use std::io::{Seek, SeekFrom, Write};

use idempotency::store::Verdict;

use super::*;

// proves: store-says-what-is-wrong
#[tokio::test]
async fn a_damaged_file_is_told_from_one_that_is_intact() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    for number in 0..50 {
        claim(&store, &hold(number), &asked())
            .await
            .expect("a claim");
    }
    let verification = store.verify().await;
    assert_eq!(verification.verdict(), Verdict::Ok, "{verification:?}");
    for check in [
        "version",
        "reachable",
        "schema",
        "integrity",
        "durability",
        "writable",
    ] {
        let found = verification
            .findings
            .iter()
            .any(|finding| finding.check == check);
        assert!(found, "{check}: {verification:?}");
    }
    drop(store);

    let damaged = Connection::open(folder.file()).expect("the file");
    let page: u32 = damaged
        .query_row(
            "select rootpage from sqlite_schema where name = 'idempotency_records_by_expiry'",
            [],
            |row| row.get(0),
        )
        .expect("the page");
    drop(damaged);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(folder.file())
        .expect("the file");
    file.seek(SeekFrom::Start(u64::from(page - 1) * 4096 + 8))
        .expect("the page");
    file.write_all(&[0xff; 64]).expect("the damage");
    drop(file);
    let store = SqliteStore::open(folder.file()).expect("a store");
    let verification = store.verify().await;
    assert_eq!(verification.verdict(), Verdict::Problem, "{verification:?}");
    let integrity = verification
        .findings
        .iter()
        .find(|finding| finding.check == "integrity");
    let reachable = verification
        .findings
        .iter()
        .find(|finding| finding.check == "reachable");
    let is_problem = |finding: &idempotency::store::Finding| finding.verdict == Verdict::Problem;
    assert!(
        integrity.is_some_and(is_problem) || reachable.is_some_and(is_problem),
        "{verification:?}"
    );
}
