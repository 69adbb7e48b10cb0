//! What an operator finds a booking's key by.

use std::time::Duration;

use idempotency::{
    Fingerprint, Label,
    store::{Hold, ListRequest, Phase, Token},
};
use rstest_reuse::apply;

use super::{Kind, TransactionalApp, each_database};

// The record of a transaction has no claim before it: it is written with the booking. Under a lease the claim has made it.
#[apply(each_database)]
#[tokio::test]
async fn a_booking_leaves_its_times_its_route_and_its_label(kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let label = service.idempotency.label_text(&Label::text("O'Brien 💶"));
    for (path, key, route) in [
        ("/labelled/book/now", "k", "POST /labelled/book/{what}"),
        ("/labelled/leased/now", "l", "POST /labelled/leased/{what}"),
        ("/labelled/book/now", "m", "POST /labelled/book/{what}"),
    ] {
        if key == "m" {
            // The row already exists, from a claim that was withdrawn before it arrived.
            let (minute, token) = (Duration::from_secs(60), Token::random());
            let hold = Hold::new(service.id(key), token, minute, minute);
            let asked = Fingerprint::of([b"book".as_slice()]);
            let withdrawn = service.idempotency.store().withdraw(&hold, &asked).await;
            withdrawn.expect("a withdrawal");
        }
        let first = service.send(path, key, key).await;
        first.assert_fresh(201);
        let record = service.record(key).await.expect("a record");
        assert!(
            matches!(record.phase, Phase::Completed { .. }),
            "{record:?}"
        );
        assert_eq!(record.labels.route(), Some(route));
        assert_eq!(record.labels.label(), Some(&*label));
        let created_at = record.created_at.expect("a time");
        let completed_at = record.completed_at.expect("a time");
        match key {
            "l" => assert!(created_at <= completed_at, "{record:?}"),
            _ => assert_eq!(created_at, completed_at),
        }
        assert!(completed_at < record.expires_at);
        assert!(service.send(path, key, key).await.is_replay());
        assert_eq!(service.record(key).await, Some(record));
    }
    let labelled = ListRequest::new(10).labelled(&label);
    let listed = service.idempotency.store().list(&labelled).await;
    assert_eq!(listed.expect("a list").len(), 3);
    let of_another = ListRequest::new(10).labelled("Brien");
    let listed = service.idempotency.store().list(&of_another).await;
    assert!(listed.expect("a list").is_empty());
}
