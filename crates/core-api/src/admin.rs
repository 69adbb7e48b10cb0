//! Keys over HTTP, for operators: `/admin/keys`. These routes exist only where requests need a token.
//!
//! A subject that is not an operator sees only its own keys, as it sees only its own bookings: one subject cannot tell whether another
//! has used a key.

mod if_match;
mod input;
mod list;
mod named;
mod purge;
pub(crate) mod turns;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use idempotency::{
    Idempotency,
    store::{Record, StoreError, StoreErrorKind},
};
use tokio::time::{Instant, timeout};

use crate::{
    app::App,
    booking::Whose,
    caller::Caller,
    database::DatabaseError,
    error::ApiError,
    keys::{self, Asked, Change, Filter, Found, KeyId, Outcome, Position, Shown, UnderWay, Who},
};
use if_match::IfMatch;
use input::{ChangeQuery, KeyPath, Listing, ResolveBody, ShowQuery};
use list::{Filtered, Wanted};
use turns::Turns;

pub(crate) use list::Page;

/// How long a list may take. A narrow filter may have to read the whole store; the list then ends with what it has found so far.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request for one key may take.
const KEY_TIMEOUT: Duration = Duration::from_secs(15);

/// The routes for operators.
pub(crate) fn routes() -> Router<App> {
    let reads = Router::new()
        .route("/admin/keys", get(list_keys))
        .route("/admin/keys/by-key", get(named::show_named))
        .route("/admin/keys/{id}", get(show_key))
        .route_layer(middleware::from_fn_with_state(
            Turns::default(),
            turns::limit,
        ));
    Router::new()
        .merge(reads)
        .route("/admin/keys/{id}/release", post(release_key))
        .route(
            "/admin/keys/{id}/resolve",
            // A response may be longer than the request for it was.
            post(resolve_key).layer(DefaultBodyLimit::max(input::MAX_RESOLVE)),
        )
        .route("/admin/keys/{id}/erase", post(erase_key))
        .route("/admin/keys/purge", post(purge::purge_keys))
}

/// `GET /admin/keys`, in the order of ids.
async fn list_keys(
    State(app): State<App>,
    caller: Caller,
    listing: Listing,
) -> Result<Response, ApiError> {
    let idempotency = &app.idempotency;
    let own = own_labels(idempotency, &caller);
    let labels = match (own, &listing.subject, listing.label.as_deref()) {
        // A caller that sees only its own subject's keys may not ask for those of another one.
        (Some(_), Some(_), _) => return Err(ApiError::NotAllowed),
        (Some(own), None, None) => own,
        (Some(own), None, Some(asked)) if own.iter().any(|own| **own == *asked) => {
            vec![asked.into()]
        }
        // Those of another label are not those of this subject.
        (Some(_), None, Some(_)) => return Ok(Json([(); 0]).into_response()),
        (None, Some(subject), _) => idempotency.label_texts(&keys::owner_label(subject.as_str())),
        (None, None, asked) => asked.map(Arc::from).into_iter().collect(),
    };
    let filter = Filter {
        labels,
        ..listing.filter
    };
    let start = listing.after.map_or(Position::Start, Position::After);
    let wanted = Wanted {
        limit: listing.limit,
        // Their owner is not known.
        unreadable: caller.is_operator(),
        until: Instant::now() + LIST_TIMEOUT,
    };
    let page = list::page(start, &wanted, &Filtered(idempotency, filter)).await?;
    let link = page
        .next
        .map(|last| [(header::LINK, listing.query.next(&last))]);
    Ok((link, Json(page.views)).into_response())
}

/// The first keys that the caller sees, in the order of ids.
pub(crate) async fn first_keys(
    idempotency: &Idempotency,
    caller: &Caller,
    limit: usize,
) -> Result<Page, ApiError> {
    let own = own_labels(idempotency, caller);
    let wanted = Wanted {
        limit,
        unreadable: own.is_none(),
        until: Instant::now() + LIST_TIMEOUT,
    };
    let filter = Filter {
        labels: own.unwrap_or_default(),
        ..Filter::default()
    };
    list::page(Position::Start, &wanted, &Filtered(idempotency, filter)).await
}

/// `GET /admin/keys/{id}`
async fn show_key(
    State(app): State<App>,
    caller: Caller,
    KeyPath(id): KeyPath,
    ShowQuery { with_body }: ShowQuery,
) -> Result<Response, ApiError> {
    let idempotency = &app.idempotency;
    // A caller sees a response by a retry; otherwise only operators see it.
    if with_body && !caller.is_operator() {
        return Err(ApiError::NotAllowed);
    }
    // Searching by part of an id reads the records after it, and the result would reveal keys of others.
    if id.whole().is_none() && !caller.is_operator() {
        return Err(ApiError::UnknownKey);
    }
    let read = async {
        match keys::find(idempotency, &id).await? {
            Found::One(record) => Ok(record),
            _ => Err(ApiError::UnknownKey),
        }
    };
    let record = match within(KEY_TIMEOUT, read).await {
        // Its owner is not known.
        Err(ApiError::Store(error)) if error.kind() == StoreErrorKind::Unreadable => {
            return Err(if caller.is_operator() {
                ApiError::UnreadableKey(error)
            } else {
                ApiError::UnknownKey
            });
        }
        read => read?,
    };
    if !may_see(idempotency, &caller, &record) {
        return Err(ApiError::UnknownKey);
    }
    show(idempotency, &caller, &record, with_body)
}

/// The record, as the caller may see it.
fn show(
    idempotency: &Idempotency,
    caller: &Caller,
    record: &Record,
    with_body: bool,
) -> Result<Response, ApiError> {
    let shown = Shown::of(idempotency, record, with_body)?;
    if with_body {
        let who = who(caller);
        Asked::log(&who, "show body", KeyId::of(&record.id)).done("shown");
    }
    let tag = format!("\"{}\"", shown.summary.version);
    let headers = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-store".into()),
    ];
    Ok((headers, Json(shown)).into_response())
}

/// `POST /admin/keys/{id}/release`
async fn release_key(
    app: State<App>,
    caller: Caller,
    id: KeyPath,
    ChangeQuery { even_if_running }: ChangeQuery,
    seen: IfMatch,
) -> Result<Response, ApiError> {
    change(app, caller, id, seen, Change::Release { even_if_running }).await
}

/// `POST /admin/keys/{id}/resolve`
async fn resolve_key(
    app: State<App>,
    caller: Caller,
    id: KeyPath,
    ChangeQuery { even_if_running }: ChangeQuery,
    seen: IfMatch,
    ResolveBody(prepared): ResolveBody,
) -> Result<Response, ApiError> {
    let change_to = Change::Resolve {
        prepared,
        even_if_running,
    };
    change(app, caller, id, seen, change_to).await
}

/// `POST /admin/keys/{id}/erase`
async fn erase_key(
    app: State<App>,
    caller: Caller,
    id: KeyPath,
    seen: IfMatch,
) -> Result<Response, ApiError> {
    // `If-Match: "unreadable"` says it.
    let even_if_unreadable = false;
    change(app, caller, id, seen, Change::Erase { even_if_unreadable }).await
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    KeyPath(id): KeyPath,
    IfMatch(seen): IfMatch,
    change: Change,
) -> Result<Response, ApiError> {
    let who = who(&caller);
    let changes = app.changes.clone();
    let changing = async move {
        let seen: Vec<_> = seen.iter().map(String::as_str).collect();
        keys::change(&app.idempotency, &who, &id, Some(&seen), &change).await
    };
    let changed = under_way(&changes, changing).await;
    let changed = changed.map_err(|error| match error {
        ApiError::Store(error) if error.kind() == StoreErrorKind::Unreadable => {
            ApiError::UnreadableKey(error)
        }
        error => error,
    });
    match changed? {
        Outcome::Done => Ok(Json(serde_json::json!({"result": "done"})).into_response()),
        Outcome::Changed => Err(ApiError::KeyChanged),
        Outcome::NotFound | Outcome::Ambiguous => Err(ApiError::UnknownKey),
        Outcome::Running => Err(ApiError::KeyPhase(
            "The lease of the key's run has not expired. Wait until it has; nothing was changed."
                .into(),
        )),
        Outcome::InFlight => Err(ApiError::KeyPhase(
            "The key's run has not ended, so it has no response. Nothing was changed.".into(),
        )),
        Outcome::Completed => Err(ApiError::KeyPhase(
            "The key's run is completed. Nothing was changed.".into(),
        )),
    }
}

fn who(caller: &Caller) -> Who {
    match caller {
        Caller::Known(valid) => Who::Subject {
            name: valid.holder.subject.as_str().into(),
            token: valid.digest.to_string().into(),
        },
        Caller::Anyone => unreachable!("the routes of keys are behind the authentication"),
    }
}

/// The labels of the keys that the caller sees, two while the secret is being changed; `None` if it sees all keys.
fn own_labels(idempotency: &Idempotency, caller: &Caller) -> Option<Vec<Arc<str>>> {
    match caller.whose() {
        Whose::Everyones => None,
        Whose::Of(subject) => Some(idempotency.label_texts(&keys::owner_label(&subject))),
    }
}

fn may_see(idempotency: &Idempotency, caller: &Caller, record: &Record) -> bool {
    let label = record.labels.label();
    own_labels(idempotency, caller)
        .is_none_or(|own| own.iter().any(|own| label == Some(own.as_ref())))
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let ended = timeout(limit, work).await;
    ended.unwrap_or(Err(ApiError::Database(DatabaseError::TimedOut)))
}

/// The result of a change. It continues if the client disconnects, so that its result is logged.
async fn under_way<T: Send + 'static>(
    changes: &UnderWay,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, ApiError> {
    let under_way = changes.begin().await;
    let changing = tokio::spawn(async move {
        let _under_way = under_way;
        change.await
    });
    let changed = within(KEY_TIMEOUT, async {
        let changed = changing.await.map_err(|_| ApiError::Panicked)?;
        changed.map_err(ApiError::from)
    });
    changed.await
}
