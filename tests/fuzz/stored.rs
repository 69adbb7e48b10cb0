//! What is read from a store: outcomes, progress, and both sealed.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, StatusCode},
    routing::post,
};
use idempotency::{
    __model1::Progress,
    Fingerprint, Idempotency, IdempotencyKey, MemoryStore, OnLost, Scope, Store, idempotent,
    operators::{KeyState, StoredResponse},
    store::{Claim, ClaimRequest, Hold, IfOwner, Phase, Record, RecordId, Resolution, Token},
};
use tokio::runtime::Builder;
use tower::ServiceExt;

const HOUR: Duration = Duration::from_secs(3600);

/// Bytes that this library did not write are an error or mean what they say, and never a free key.
///
/// # Panics
///
/// If they are not.
pub fn check(stored: &[u8]) {
    read_as_an_outcome(stored);
    read_as_progress(stored);
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        opened(stored).await;
        replayed(stored).await;
    });
}

/// A response as the stored bytes spell it.
#[derive(Debug, PartialEq, Eq)]
struct Spelled {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Spelled {
    /// The fields of one name stay in their order; that of names has no meaning.
    fn new(status: u16, mut fields: Vec<(String, Vec<u8>)>, body: &[u8]) -> Self {
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self {
            status,
            fields,
            body: body.to_vec(),
        }
    }

    /// Version 1, a response: the status, the number of fields, each field as two lengths, name and value; then the body.
    fn read(stored: &[u8]) -> Option<Self> {
        let rest = &mut stored.strip_prefix(&[1, 1])?;
        let status = u16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
        let count = u16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
        let mut fields = Vec::new();
        for _ in 0..count {
            let name = u16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
            let value = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
            let name = rest.split_off(..usize::from(name))?;
            let name = str::from_utf8(name).ok()?.to_ascii_lowercase();
            let value = rest.split_off(..usize::try_from(value).ok()?)?;
            fields.push((name, value.to_vec()));
        }
        Some(Self::new(status, fields, rest))
    }
}

fn record(phase: Phase) -> Record {
    let (id, token) = (RecordId::from_bytes([7; 32]), Token::from_bytes([7; 16]));
    let until = SystemTime::UNIX_EPOCH;
    Record::new(id, fingerprint(), token, 1, until, phase)
}

fn fingerprint() -> Fingerprint {
    Fingerprint::of([b"a request".as_slice()])
}

fn read_as_an_outcome(stored: &[u8]) {
    let outcome = Bytes::copy_from_slice(stored);
    let record = record(Phase::Completed { outcome });
    let engine = Idempotency::new(MemoryStore::new());
    let shown = stored.escape_ascii();
    let state = KeyState::of(&record, SystemTime::UNIX_EPOCH);
    assert!(
        matches!(state, KeyState::Done | KeyState::Erased),
        "{state:?}: {shown}"
    );
    match engine.stored_response(&record) {
        Ok(StoredResponse::Kept(response)) => {
            let fields = response.headers().iter();
            let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            let found = Spelled::new(
                response.status().as_u16(),
                fields.collect(),
                response.body(),
            );
            assert_eq!(Spelled::read(stored), Some(found), "{shown}");
        }
        Ok(StoredResponse::NotStored) => assert_eq!(stored[..2], [1, 2], "{shown}"),
        Ok(StoredResponse::Erased) => assert_eq!(stored[..2], [1, 3], "{shown}"),
        Ok(StoredResponse::ReplayValue(json)) => {
            assert_eq!(stored, [&[1, 4], json.as_ref()].concat(), "{shown}");
        }
        Ok(other) => panic!("{other:?}: {shown}"),
        // Not each text of the form is a response: names, values and statuses have rules of their own.
        Err(_) => assert!(!matches!(stored, [1, 2..=4, ..]), "{shown}"),
    }
    if let Ok(StoredResponse::Kept(value)) = engine.stored_value(&record) {
        assert_eq!(stored, [&[1, 1], value.as_ref()].concat(), "{shown}");
    }
}

fn read_as_progress(stored: &[u8]) {
    let shown = stored.escape_ascii();
    let Ok(mut progress) = Progress::read(Bytes::copy_from_slice(stored)) else {
        return;
    };
    // Version 1 did not name the attempt that suspended itself.
    progress.name_attempt(1);
    let written = progress.write();
    let again = Progress::read(written.clone()).expect("what was written");
    assert_eq!(again, progress, "{shown}");
    match stored {
        // No steps are written as nothing.
        [2, 0, 0, 0, 0] => assert!(written.is_empty(), "{shown}"),
        [1, 0 | 1, steps @ ..] if !steps.is_empty() => {
            assert_eq!(written[5..], *steps, "{shown}");
        }
        [1, ..] => {}
        _ => assert_eq!(written, stored, "{shown}"),
    }
}

/// A sealed outcome with a part of it overwritten, and the bytes themselves: neither can be read with the secret.
async fn opened(stored: &[u8]) {
    let inner = Arc::new(MemoryStore::new());
    let engine = Idempotency::builder(Arc::clone(&inner) as Arc<dyn Store>)
        .with_secret(b"a secret of thirty-two characters")
        .build();
    let shown = stored.escape_ascii();
    let plain = Bytes::from_static(b"\x01\x01\x00\xc8\x00\x00booked");
    let hold = hold(1);
    complete(engine.store(), &hold, plain.clone()).await;
    let sealed = outcome(inner.as_ref(), &hold.id)
        .await
        .expect("it is there");
    let read = outcome(engine.store(), &hold.id).await;
    assert_eq!(read.as_ref().ok(), Some(&plain), "{shown}");

    let mut damaged = sealed.to_vec();
    if let [at, rest @ ..] = stored {
        let at = usize::from(*at) % damaged.len();
        let end = damaged.len().min(at + rest.len());
        damaged.splice(at..end, rest.iter().copied());
    }
    for (number, bytes) in [
        (2, sealed.to_vec()),
        (3, stored.to_vec()),
        (4, damaged.clone()),
    ] {
        // The sealed bytes of one record are nothing in another one.
        let other = self::hold(number);
        complete(inner.as_ref(), &other, bytes.into()).await;
        let read = outcome(engine.store(), &other.id).await;
        let is_empty = matches!(&read, Ok(read) if read.is_empty() && stored.is_empty());
        assert!(read.is_err() || is_empty, "{number}: {shown}");
    }
    let record = inner
        .inspect(&hold.id)
        .await
        .expect("a store")
        .expect("a record");
    let replace = Resolution::Replace {
        outcome: damaged.clone().into(),
    };
    let replaced = inner.resolve(&hold.id, &record.token, replace).await;
    assert_eq!(replaced.expect("a store"), IfOwner::Done(()));
    let read = outcome(engine.store(), &hold.id).await;
    assert_eq!(read.is_ok(), damaged == sealed, "{shown}");
}

/// A retry whose stored outcome is these bytes gets what they say, or a refusal, and does not run.
async fn replayed(stored: &[u8]) {
    let engine = Idempotency::new(MemoryStore::new());
    let service = Router::new()
        .route("/", post(book))
        .layer(Extension(engine.clone()));
    let shown = stored.escape_ascii();
    let (status, body, _) = send(&service).await;
    assert_eq!(
        (status, body),
        (StatusCode::CREATED, Bytes::from_static(b"booked"))
    );
    let key = IdempotencyKey::new("order-17").expect("a key");
    let id = engine.record_id(&Scope::anonymous(), &key);
    let record = engine.store().inspect(&id).await.expect("a store");
    let record = record.expect("a record");
    let outcome = Bytes::copy_from_slice(stored);
    let replaced = engine.resolve(&record, Resolution::Replace { outcome });
    assert_eq!(replaced.await.expect("a store"), IfOwner::Done(()));
    let (status, body, is_replay) = send(&service).await;
    if is_replay {
        let spelled = Spelled::read(stored).expect("a response is spelled");
        assert_eq!(
            (status.as_u16(), body.to_vec()),
            (spelled.status, spelled.body),
            "{shown}"
        );
    } else {
        let refused = [
            StatusCode::CONFLICT,
            StatusCode::GONE,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::INTERNAL_SERVER_ERROR,
        ];
        assert!(refused.contains(&status), "{status}: {shown}");
        assert_ne!(body, "booked", "{shown}");
    }
}

#[idempotent(ttl_seconds = 3600)]
async fn book() -> (StatusCode, &'static str) {
    (StatusCode::CREATED, "booked")
}

async fn send(service: &Router) -> (StatusCode, Bytes, bool) {
    let request = Request::post("/").header("idempotency-key", "order-17");
    let request = request.body(Body::empty()).expect("a request");
    let Ok(response) = service.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let is_replay = head.headers.contains_key("idempotent-replayed");
    let body = to_bytes(body, usize::MAX).await.expect("a whole body");
    (head.status, body, is_replay)
}

fn hold(number: u8) -> Hold {
    let id = RecordId::from_bytes([number; 32]);
    Hold::new(id, Token::random(), HOUR, HOUR)
}

async fn complete(store: &dyn Store, hold: &Hold, outcome: Bytes) {
    let fingerprint = fingerprint();
    let claim = ClaimRequest::new(hold, &fingerprint, OnLost::TakeOver);
    let claimed = store.claim(claim).await.expect("a store");
    assert!(matches!(claimed, Claim::Won { .. }));
    let completed = store.complete(hold, outcome).await.expect("a store");
    assert!(matches!(completed, IfOwner::Done(_)));
}

async fn outcome(
    store: &dyn Store,
    id: &RecordId,
) -> Result<Bytes, idempotency::store::StoreError> {
    let record = store.inspect(id).await?.expect("a record");
    match record.phase {
        Phase::Completed { outcome } => Ok(outcome),
        phase => panic!("{phase:?}"),
    }
}
