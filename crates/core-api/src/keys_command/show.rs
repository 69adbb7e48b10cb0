//! `core-api keys show`.

use axum::body::Bytes;
use idempotency::{
    Idempotency, IdempotencyKey, Scope, key::KeySyntax, log_text::Causes, store::Record,
};

use super::{failed, input, open, print, source::Source};
use crate::{
    config::ShowKey,
    keys::{self, Asked, Found, KeyId, Shown, ShownResponse, Who, body_of, find, find_named},
    logging,
};

/// Prints the key, and returns whether there is one.
pub(super) async fn run(asked: &ShowKey) -> Result<bool, String> {
    // The input is read before the store is opened, because an open SQLite file keeps a service from starting.
    let key = match (&asked.id, &asked.key) {
        (Some(_), _) => None,
        (None, Some(key)) if key.expose() != "-" => Some(key.expose().to_owned()),
        (None, _) => Some(input::line()?),
    };
    let (shown, body) = match open(&asked.store).await? {
        Source::Store(idempotency) => {
            let Some(record) = named_record(&idempotency, asked, key).await? else {
                return Ok(false);
            };
            of_record(&idempotency, asked, &record)?
        }
        Source::Service(service) => {
            let Some(shown) = service.show(asked, key.as_deref()).await? else {
                let id = asked
                    .id
                    .as_ref()
                    .map_or("the key".into(), ToString::to_string);
                logging::say(&format!("{id}: not found"));
                return Ok(false);
            };
            let body = body_in(&shown)?;
            (shown, body)
        }
    };
    print::shown(&shown, asked.json)?;
    if asked.body
        && !asked.json
        && let Some(body) = body
    {
        print::body(&body)?;
    }
    Ok(true)
}

/// What is shown of a record, and its body.
fn of_record(
    idempotency: &Idempotency,
    asked: &ShowKey,
    record: &Record,
) -> Result<(Shown, Option<Bytes>), String> {
    if asked.body {
        let who = Who::of_process();
        Asked::log(&who, "show body", KeyId::of(&record.id)).done("shown");
    }
    let with_body = asked.json && asked.body;
    let shown = Shown::of(idempotency, record, with_body).map_err(|error| failed(&error))?;
    if !asked.body {
        return Ok((shown, None));
    }
    let body = body_of(idempotency, record).map_err(|error| failed(&error))?;
    Ok((shown, body))
}

/// The body that a service has sent.
fn body_in(shown: &Shown) -> Result<Option<Bytes>, String> {
    Ok(match &shown.response {
        Some(ShownResponse::Kept {
            body_hex: Some(digits),
            ..
        }) => Some(bytes_of(digits).ok_or("the service sent a body that is not hexadecimal")?),
        Some(ShownResponse::Kept { body, .. }) => body.clone().map(Bytes::from),
        Some(ShownResponse::Value { json }) => json.clone().map(Bytes::from),
        _ => None,
    })
}

fn bytes_of(digits: &str) -> Option<Bytes> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect::<Option<Vec<u8>>>().map(Into::into)
}

/// The requested record. If there is none, this is reported.
async fn named_record(
    idempotency: &Idempotency,
    asked: &ShowKey,
    key: Option<String>,
) -> Result<Option<Box<Record>>, String> {
    let (id, found) = match &asked.id {
        Some(id) => {
            let found = find(idempotency, id).await;
            (id.clone(), found.map_err(|error| failed(&error))?)
        }
        None => {
            let key = key.unwrap_or_default();
            let key = IdempotencyKey::from_field_value(key.as_bytes(), KeySyntax::QuotedOrBare);
            let key = key.map_err(|error| format!("the key: {}", Causes(&error)))?;
            let scope = match &asked.subject {
                Some(subject) => keys::scope(subject.as_str(), asked.operator),
                None => Scope::anonymous(),
            };
            let found = find_named(idempotency, &scope, &key).await;
            let found = found.map_err(|error| failed(&error))?;
            let id = KeyId::of(&idempotency.record_id(&scope, &key));
            (id, found.map_or(Found::Nothing, Found::One))
        }
    };
    match found {
        Found::One(record) => return Ok(Some(record)),
        Found::Nothing => logging::say(&format!("{id}: not found")),
        Found::Several => logging::say(&format!("{id}: several keys begin with these digits")),
    }
    Ok(None)
}
