//! Records of version 1, which has neither labels nor the time of the first claim.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use idempotency::{
    RedisStore, Store,
    store::{
        Claim, Hold, IfOwner, Labels, ListRequest, Phase, Record, Resolution, StoreErrorKind, Token,
    },
};
use redis::Connection;

use super::{
    hold_on,
    records::{get, set, taken},
    request,
};
use crate::{claim, won};

/// The length of what version 1 wrote before the spent tokens and the progress.
const HEAD_LENGTH: usize = 71;

const IN_FLIGHT: u8 = 1;
const COMPLETED: u8 = 2;
const WITHDRAWN: u8 = 3;

/// A key under which version 1 has written a record, with times at these distances from now.
struct Earlier {
    store: RedisStore,
    /// The record's hold, if it has one.
    hold: Hold,
    key: String,
    connection: Connection,
}

impl Earlier {
    async fn wrote(
        phase: u8,
        attempt: u32,
        lease_until: u64,
        spent: &[Token],
        left: &[u8],
    ) -> Option<Self> {
        let (store, hold, key, mut connection) = taken().await?;
        let tokens = u8::try_from(spent.len()).expect("a few tokens");
        let expires_at = micros(SystemTime::now() + hold.ttl);
        let mut bytes = vec![1, phase + 16 * tokens];
        bytes.extend(attempt.to_be_bytes());
        bytes.extend(expires_at.to_be_bytes());
        bytes.extend(lease_until.to_be_bytes());
        bytes.extend(hold.token.as_bytes());
        bytes.extend(request().as_bytes());
        assert_eq!(bytes.len(), HEAD_LENGTH);
        spent
            .iter()
            .for_each(|token| bytes.extend(token.as_bytes()));
        bytes.extend(left);
        set(&mut connection, &key, &bytes);
        Some(Self {
            store,
            hold,
            key,
            connection,
        })
    }

    async fn record(&self) -> Record {
        let record = self.store.inspect(&self.hold.id).await;
        record.expect("an inspection").expect("the record")
    }

    fn bytes(&mut self) -> Vec<u8> {
        get(&mut self.connection, &self.key)
    }

    /// Another claim of the key, by a process of this version.
    fn next(&self) -> Hold {
        hold_on(self.hold.id).with_labels(Labels::new(Some("POST /bookings"), Some("ann")))
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).expect("a time");
    u64::try_from(since.as_micros()).expect("a time of this century")
}

/// A process of the earlier version, which began the run, may have to end it: so the record keeps the format that it can read.
// proves: other-version-is-error, newer-record-fails-alone
#[tokio::test]
async fn a_run_of_version_1_is_taken_over_and_completed_in_its_version() {
    let lapsed = micros(SystemTime::now()) - 1_000_000;
    let spent = Token::random();
    let wrote = Earlier::wrote(IN_FLIGHT, 3, lapsed, &[spent], b"charged").await;
    let Some(mut earlier) = wrote else { return };
    let record = earlier.record().await;
    assert_eq!((record.created_at, record.completed_at), (None, None));
    assert_eq!(record.labels, Labels::default());
    let late = earlier.next().with_token(spent);
    let claimed = claim(&earlier.store, &late, &request()).await;
    let kind = claimed.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Withdrawn));

    let next = earlier.next();
    let claimed = claim(&earlier.store, &next, &request()).await;
    let progress = Bytes::from_static(b"charged");
    assert_eq!(claimed.ok(), Some(Claim::won(4, progress)));
    let record = earlier.record().await;
    assert_eq!(
        (record.created_at, &record.labels),
        (None, &Labels::default())
    );
    let bytes = earlier.bytes();
    assert_eq!(bytes[..2], [1, IN_FLIGHT + 16]);
    assert_eq!(bytes[HEAD_LENGTH + 16..], *b"charged");

    let done = earlier.store.complete(&next, Bytes::from_static(b"booked"));
    assert!(matches!(done.await, Ok(IfOwner::Done(_))));
    let record = earlier.record().await;
    assert_eq!(
        (record.created_at, &record.labels),
        (None, &Labels::default())
    );
    assert!(record.completed_at.is_some());
    let bytes = earlier.bytes();
    assert_eq!(bytes[..2], [1, COMPLETED]);
    assert_eq!(bytes[HEAD_LENGTH..], *b"booked");
}

// proves: other-version-is-error, newer-record-fails-alone
#[tokio::test]
async fn a_response_of_version_1_is_replayed_replaced_and_forgotten() {
    // It left no time in place of the lease.
    let Some(mut earlier) = Earlier::wrote(COMPLETED, 1, 0, &[], b"booked").await else {
        return;
    };
    let record = earlier.record().await;
    assert_eq!((record.created_at, record.completed_at), (None, None));
    let narrowed = ListRequest::new(1).created_before(UNIX_EPOCH);
    let listed = earlier.store.list(&narrowed).await.expect("a list");
    assert_eq!(listed.len(), 1, "when it began is not known");
    let claimed = claim(&earlier.store, &earlier.next(), &request()).await;
    let booked = Claim::completed(request(), Bytes::from_static(b"booked"), record.expires_at);
    assert_eq!(claimed.ok(), Some(booked));

    let outcome = Bytes::from_static(b"moved");
    let replace = Resolution::Replace {
        outcome: outcome.clone(),
    };
    let (id, token) = (earlier.hold.id, earlier.hold.token);
    let replaced = earlier.store.resolve(&id, &token, replace).await;
    assert_eq!(replaced.ok(), Some(IfOwner::Done(())));
    let replaced = earlier.record().await;
    assert_eq!(replaced.phase, Phase::Completed { outcome });
    assert_eq!(replaced.expires_at, record.expires_at);
    assert_eq!(replaced.completed_at, None);
    assert_eq!(earlier.bytes()[HEAD_LENGTH..], *b"moved");
    let forgotten = earlier.store.resolve(&id, &token, Resolution::Forget).await;
    assert_eq!(forgotten.ok(), Some(IfOwner::Done(())));
    let next = earlier.next();
    assert_eq!(
        claim(&earlier.store, &next, &request()).await.ok(),
        Some(won(1))
    );
}

// proves: other-version-is-error, newer-record-fails-alone
#[tokio::test]
async fn a_key_that_version_1_freed_keeps_its_tokens_under_a_record_with_labels() {
    let spent = [Token::random(), Token::random()];
    let now = micros(SystemTime::now());
    let Some(mut earlier) = Earlier::wrote(WITHDRAWN, 0, now, &spent, b"").await else {
        return;
    };
    let next = earlier.next();
    assert_eq!(
        claim(&earlier.store, &next, &request()).await.ok(),
        Some(won(1))
    );
    let record = earlier.record().await;
    assert!(record.created_at.is_some());
    assert_eq!(record.labels, next.labels);
    for late in [earlier.hold.token, spent[0], spent[1]] {
        let claimed = claim(&earlier.store, &earlier.next().with_token(late), &request()).await;
        let kind = claimed.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    }
    // And it is freed in such a way that a process of that version can claim it.
    assert_eq!(
        earlier.store.release(&next).await.ok(),
        Some(IfOwner::Done(()))
    );
    let bytes = earlier.bytes();
    assert_eq!(bytes[..2], [1, WITHDRAWN + 16 * 3]);
    assert_eq!(bytes.len(), HEAD_LENGTH + 16 * 3);
}
