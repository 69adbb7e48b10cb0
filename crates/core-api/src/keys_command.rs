//! `core-api keys`.

mod change;
mod input;
mod interrupted;
mod print;
mod service;
mod show;
mod source;
mod tail;

use std::{fs, slice};

use axum::http::{HeaderMap, HeaderValue, header};
use idempotency::{Idempotency, log_text::Causes, store::StoreError};
use rustls::crypto::ring;

use crate::{
    config::{KeyFilter, KeyStore, KeysCommand, ListKeys, PurgeKeys, ResolveKey},
    database::{self, OpenedKeys},
    keys::{self, Change, Filter, PURGED_AT_ONCE, Prepared, WantedPhase, Who},
    logging,
    progress::Progress,
    server::ServerError,
};
use change::{change_chosen, change_named, named_by};
use interrupted::unless_interrupted;
use print::Table;
use service::Service;
use source::Source;

/// Executes the command. Returns whether everything was done.
pub(crate) async fn run(command: &KeysCommand) -> Result<bool, String> {
    match command {
        KeysCommand::List(asked) => list(asked).await.map(|()| true),
        KeysCommand::Show(asked) => show::run(asked).await,
        KeysCommand::Release(asked) => {
            let named = named_by(&asked.chosen)?;
            let source = open(&asked.store).await?;
            let even_if_running = asked.even_if_running;
            let change = Change::Release { even_if_running };
            let phase = WantedPhase::Stuck;
            unless_interrupted(change_chosen(&source, &asked.chosen, named, &change, phase)).await
        }
        KeysCommand::Resolve(asked) => {
            let change = resolution(asked)?;
            let named = input::named(slice::from_ref(&asked.id))?;
            if named.len() != 1 {
                return Err(
                    "standard input: expected one id, because a response is that of one key".into(),
                );
            }
            let source = open(&asked.store).await?;
            unless_interrupted(change_named(&source, named, asked.json, &change)).await
        }
        KeysCommand::Erase(asked) => {
            let named = named_by(&asked.chosen)?;
            let source = open(&asked.store).await?;
            let even_if_unreadable = asked.even_if_unreadable;
            let change = Change::Erase { even_if_unreadable };
            let phase = WantedPhase::Completed;
            unless_interrupted(change_chosen(&source, &asked.chosen, named, &change, phase)).await
        }
        KeysCommand::Tail(asked) => tail::run(asked).await.map(|()| true),
        KeysCommand::Purge(asked) => unless_interrupted(purge(asked)).await.map(|()| true),
    }
}

/// The service that is named, or the engine that the service has, over the same store.
async fn open(asked: &KeyStore) -> Result<Source, String> {
    logging::start(asked.log_format);
    if let Some(url) = &asked.service {
        return Service::new(url, asked).map(Source::Service);
    }
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
    let idempotency = keys::engine(store, &secrets).build();
    Ok(Source::Store(Box::new(idempotency)))
}

fn failed(error: &StoreError) -> String {
    format!("the store of the keys: {}", Causes(error))
}

/// What the filter of a command finds in a store, in this phase unless it asks for another one.
fn filter(idempotency: &Idempotency, asked: &KeyFilter, phase: Option<WantedPhase>) -> Filter {
    let labels = match (&asked.of_subject, &asked.label) {
        (Some(subject), _) => idempotency.label_texts(&keys::owner_label(subject.as_str())),
        (None, label) => label.as_deref().map(Into::into).into_iter().collect(),
    };
    Filter {
        phase: asked.phase().or(phase),
        older_than: asked.older_than,
        labels,
        route: asked.route.as_deref().map(Into::into),
    }
}

async fn list(asked: &ListKeys) -> Result<(), String> {
    let source = open(&asked.store).await?;
    let mut listing = source.list(&asked.filter, None);
    let mut left = asked.limit;
    let mut table = Table::new(asked.json);
    while left > 0 {
        let page = listing.next().await?;
        if page.is_empty() {
            break;
        }
        for item in page.iter().take(left) {
            table.line(&item.view)?;
        }
        left -= page.len().min(left);
    }
    table.end()
}

/// The response that a key is to be given.
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
    let mut progress = Progress::new();
    let purged = match open(&asked.store).await? {
        Source::Store(idempotency) => {
            let who = Who::of_process();
            let count = |purged| progress.count(purged, "removed");
            let purged = keys::purge(&idempotency, &who, usize::MAX, count).await;
            purged.map_err(|error| failed(&error))?
        }
        Source::Service(service) => {
            let mut purged = 0;
            loop {
                let removed = service.purge().await?;
                purged += removed;
                progress.count(purged, "removed");
                if removed < PURGED_AT_ONCE {
                    break purged;
                }
            }
        }
    };
    print::count("removed", purged, asked.json)
}
