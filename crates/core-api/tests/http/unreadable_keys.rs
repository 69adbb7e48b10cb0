//! Responses that cannot be decrypted, and whose erasure is asked for.

use rusqlite::Connection;
use serde_json::Value;

use crate::{
    keys::{assert_undone, done, run},
    keys_by_service::Operated,
    tokens::book,
};

// proves: records-encrypted-and-purgeable, erased-response-never-runs
#[tokio::test]
async fn a_response_that_cannot_be_decrypted_is_erased_by_its_whole_id() {
    let (Operated { tokens, server, .. }, [ann, _]) = Operated::with_three_keys(&[]).await;
    server.kill();
    let path = tokens.directory.path();
    let file = Connection::open(path.join("core-api.db")).unwrap();
    let damage = "update idempotency_records set outcome = zeroblob(length(outcome))";
    assert_eq!(file.execute(damage, ()).unwrap(), 3);
    drop(file);
    let lines = done(path, &["list", "--json"]);
    let ids = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["error"].is_string(), "{line}");
        line["id"].as_str().unwrap().to_owned()
    });
    let ids: Vec<_> = ids.collect();
    let even_so = "--even-if-unreadable";
    assert_undone(
        &run(path, &["erase", &ids[0][..16], even_so], ""),
        "failed: ",
    );
    // With another secret every response looks like this.
    assert_undone(&run(path, &["erase", &ids[0]], ""), "failed: ");
    let erased = done(path, &["erase", &ids[0], even_so]);
    assert_eq!(erased, format!("{}  done\n", ids[0]));

    let operated = Operated::start(tokens, &[]);
    let erase = |id: &str| operated.run(&["erase", id, even_so], "");
    assert_undone(&operated.run(&["erase", &ids[1]], ""), "cannot be read");
    assert_undone(&erase(&ids[1][..16]), "cannot be read");
    let seen = format!("{{\"id\":\"{}\",\"version\":\"0123\"}}\n", ids[1]);
    assert_undone(&operated.run(&["erase", "-"], &seen), "changed meanwhile");
    for id in &ids[1..] {
        assert!(erase(id).status.success());
    }
    for key in ["k", "l"] {
        book(&operated.server, &ann, key).await.problem(410);
    }
}

// proves: records-encrypted-and-purgeable, erased-response-never-runs
#[tokio::test]
async fn erasing_a_subject_goes_on_after_a_response_that_cannot_be_decrypted_and_reports_it() {
    let (Operated { tokens, server, .. }, [ann, bob]) = Operated::with_three_keys(&[]).await;
    server.kill();
    let path = tokens.directory.path();
    let file = Connection::open(path.join("core-api.db")).unwrap();
    let label = "(select min(label) from idempotency_records group by label having count(*) = 2)";
    let damage = format!(
        "update idempotency_records set outcome = zeroblob(length(outcome))
         where id = (select min(id) from idempotency_records where label = {label})"
    );
    assert_eq!(file.execute(&damage, ()).unwrap(), 1);
    drop(file);
    let of_ann = ["erase", "--of-subject", "ann"];
    let found = run(path, &of_ann, "");
    assert_undone(&found, "1 found\n");
    let told = String::from_utf8_lossy(&found.stderr);
    assert!(told.contains("1 more cannot be read"), "{told}");

    let operated = Operated::start(tokens, &[]);
    let erased = operated.run(&[&of_ann[..], &["--yes"]].concat(), "");
    assert_undone(&erased, "  done\n");
    assert_undone(&erased, "not changed: it cannot be read");
    let mut statuses = Vec::new();
    for key in ["k", "l"] {
        statuses.push(book(&operated.server, &ann, key).await.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [410, 503]);
    assert!(book(&operated.server, &bob, "k").await.is_replayed());
}
