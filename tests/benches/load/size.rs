//! The memory that a stored key takes in the memory store, in addition to the response itself.

use std::time::Duration;

use bytes::Bytes;
use idempotency::{
    Fingerprint, MemoryStore, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, RecordId, Token},
};
use uuid::Uuid;

use crate::{
    Effort, cpu, report,
    server::{self, Server},
};

const ANSWER: usize = 300;

pub(crate) fn measure(effort: Effort) {
    let keys: usize = if effort.quick { 50_000 } else { 1_000_000 };
    report::title(&format!(
        "Memory store, {keys} keys: bytes a key in addition to its response"
    ));
    let mut server = Server::start(&["size", &keys.to_string()]);
    for name in ["completed", "and once replayed"] {
        let bytes: f64 = server.line().parse().expect("a number");
        report::line(name, vec![bytes], "");
    }
}

/// Stores this many keys, and prints how much memory each takes; and again after each was replayed.
pub(crate) fn store(keys: usize) {
    server::runtime(1).block_on(async {
        let store = MemoryStore::new().with_limit_bytes(usize::MAX);
        let holds: Vec<_> = (0..keys).map(|_| hold()).collect();
        let fingerprint = Fingerprint::of([b"the same for all".as_slice()]);
        let before = cpu::resident();
        let print = || {
            let used = cpu::resident() - before;
            println!("{}", used as f64 / keys as f64 - ANSWER as f64);
        };
        for hold in &holds {
            complete(&store, hold, &fingerprint, Bytes::from(vec![b'a'; ANSWER])).await;
        }
        print();
        for hold in &holds {
            let claim = store
                .claim(ClaimRequest::new(hold, &fingerprint, OnLost::TakeOver))
                .await
                .expect("a claim");
            assert!(matches!(claim, Claim::Completed { .. }), "{claim:?}");
        }
        print();
    });
}

pub(crate) fn hold() -> Hold {
    let id = Fingerprint::of([Uuid::new_v4().as_bytes().as_slice()]);
    let (_, id) = id.as_bytes().split_first_chunk::<1>().expect("a version");
    Hold::new(
        RecordId::from_bytes(id.try_into().expect("a digest of 32 bytes")),
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(3600),
    )
}

pub(crate) async fn complete(
    store: &MemoryStore,
    hold: &Hold,
    fingerprint: &Fingerprint,
    outcome: Bytes,
) {
    store
        .claim(ClaimRequest::new(hold, fingerprint, OnLost::TakeOver))
        .await
        .expect("a claim");
    store.complete(hold, outcome).await.expect("a completion");
}
