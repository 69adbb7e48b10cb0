//! `core-api keys`.

mod change;
mod input;
mod print;
mod tail;

use std::{fs, slice};

use axum::http::{HeaderMap, HeaderValue, header};
use idempotency::{
    Idempotency, IdempotencyKey, KeySyntax, Scope, StoreError, log_text::Causes, store::Record,
};
use rustls::crypto::ring;

use crate::{
    config::{KeyFilter, KeyStore, KeysCommand, ListKeys, PurgeKeys, ResolveKey, ShowKey},
    database::{self, OpenedKeys},
    keys::{
        self, Asked, Change, Filter, Found, KeyId, Position, Prepared, Shown, View, WantedPhase,
        Who, body_of, find, find_named,
    },
    logging,
    progress::Progress,
    server::ServerError,
};
use change::{change_chosen, change_named, named_by};
use print::Table;

/// Executes the command. Returns whether everything was done.
pub(crate) async fn run(command: &KeysCommand) -> Result<bool, String> {
    match command {
        KeysCommand::List(asked) => list(asked).await.map(|()| true),
        KeysCommand::Show(asked) => show(asked).await,
        KeysCommand::Release(asked) => {
            let named = named_by(&asked.chosen)?;
            let idempotency = open(&asked.store).await?;
            let even_if_running = asked.even_if_running;
            let change = Change::Release { even_if_running };
            change_chosen(
                &idempotency,
                &asked.chosen,
                named,
                &change,
                WantedPhase::Stuck,
            )
            .await
        }
        KeysCommand::Resolve(asked) => {
            let change = resolution(asked)?;
            let named = input::named(slice::from_ref(&asked.id))?;
            if named.len() != 1 {
                return Err(
                    "standard input: expected one id, because a response is that of one key".into(),
                );
            }
            let idempotency = open(&asked.store).await?;
            change_named(&idempotency, named, asked.json, &change).await
        }
        KeysCommand::Erase(asked) => {
            let named = named_by(&asked.chosen)?;
            let idempotency = open(&asked.store).await?;
            let (change, phase) = (Change::Erase, WantedPhase::Completed);
            change_chosen(&idempotency, &asked.chosen, named, &change, phase).await
        }
        KeysCommand::Tail(asked) => tail::run(asked).await.map(|()| true),
        KeysCommand::Purge(asked) => purge(asked).await.map(|()| true),
    }
}

/// The same engine as the service's, over the same store.
async fn open(asked: &KeyStore) -> Result<Idempotency, String> {
    logging::start(asked.log_format);
    drop(ring::default_provider().install_default());
    let KeyStore {
        database,
        idempotency_store,
        secret_file,
        rotation,
        ..
    } = asked;
    let files = rotation.with(secret_file.as_deref());
    let opened = database::open_keys(database, idempotency_store, &files).await;
    let OpenedKeys { store, secrets } =
        opened.map_err(|error| ServerError::from(error).to_string())?;
    Ok(keys::engine(store, &secrets).build())
}

fn failed(error: &StoreError) -> String {
    format!("the store of the keys: {}", Causes(error))
}

fn filter(idempotency: &Idempotency, asked: &KeyFilter, phase: Option<WantedPhase>) -> Filter {
    let named = [
        (asked.in_flight, WantedPhase::InFlight),
        (asked.stuck, WantedPhase::Stuck),
        (asked.suspended, WantedPhase::Suspended),
        (asked.completed, WantedPhase::Completed),
    ];
    let named = named.into_iter().find(|(is_asked, _)| *is_asked);
    let labels = match (&asked.of_subject, &asked.label) {
        (Some(subject), _) => idempotency.label_texts(&keys::owner_label(subject.as_str())),
        (None, label) => label.as_deref().map(Into::into).into_iter().collect(),
    };
    Filter {
        phase: named.map(|(_, phase)| phase).or(phase),
        older_than: asked.older_than,
        labels,
        route: asked.route.as_deref().map(Into::into),
    }
}

async fn list(asked: &ListKeys) -> Result<(), String> {
    let idempotency = open(&asked.store).await?;
    let filter = filter(&idempotency, &asked.filter, None);
    let (mut position, mut left) = (Position::Start, asked.limit);
    let mut table = Table::new(asked.json);
    while left > 0 {
        let page = filter.next(&idempotency, &mut position).await;
        let page = page.map_err(|error| failed(&error))?;
        if page.is_empty() {
            break;
        }
        for listed in page.iter().take(left) {
            table.line(&View::of(&idempotency, listed))?;
        }
        left -= page.len().min(left);
    }
    table.end()
}

async fn show(asked: &ShowKey) -> Result<bool, String> {
    // The input is read before the store is opened, because an open SQLite file keeps a service from starting.
    let key = match (&asked.id, &asked.key) {
        (Some(_), _) => None,
        (None, Some(key)) if key.expose() != "-" => Some(key.expose().to_owned()),
        (None, _) => Some(input::line()?),
    };
    let idempotency = open(&asked.store).await?;
    let Some(record) = named_record(&idempotency, asked, key).await? else {
        return Ok(false);
    };
    if asked.body {
        let who = Who::of_process();
        Asked::log(&who, "show body", KeyId::of(&record.id)).done("shown");
    }
    let with_body = asked.json && asked.body;
    let shown = Shown::of(&idempotency, &record, with_body).map_err(|error| failed(&error))?;
    print::shown(&shown, asked.json)?;
    if asked.body
        && !asked.json
        && let Some(body) = body_of(&idempotency, &record).map_err(|error| failed(&error))?
    {
        print::body(&body)?;
    }
    Ok(true)
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

/// The response to store for a key.
fn resolution(asked: &ResolveKey) -> Result<Change, String> {
    let body = match &asked.body_file {
        None => Vec::new(),
        Some(path) => fs::read(path)
            .map_err(|error| format!("--body-file {}: {}", path.display(), Causes(&error)))?,
    };
    if body.len() > Prepared::MAX_BODY {
        return Err("--body-file: a response above 1 MiB is not stored".into());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        headers.append(name, value.clone());
    }
    if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
    }
    Ok(Change::Resolve {
        prepared: Prepared {
            status: asked.status,
            headers,
            body,
            ttl: asked.ttl.0,
        },
        even_if_running: asked.even_if_running,
    })
}

async fn purge(asked: &PurgeKeys) -> Result<(), String> {
    const PURGED_AT_ONCE: usize = 1000;
    let idempotency = open(&asked.store).await?;
    let who = Who::of_process();
    let event = Asked::log(&who, "purge", "all that have expired");
    let mut purged = 0;
    let mut progress = Progress::new();
    loop {
        let removed = match idempotency.store().purge_expired(PURGED_AT_ONCE).await {
            Ok(removed) => removed,
            Err(error) => {
                event.not_done(format_args!(
                    "{purged} removed, and then: {}",
                    Causes(&error)
                ));
                return Err(failed(&error));
            }
        };
        purged += removed;
        progress.count(purged, "removed");
        if removed < PURGED_AT_ONCE {
            break;
        }
    }
    event.done(format_args!("{purged} removed"));
    print::count("removed", purged, asked.json)
}
