//! Keys over HTTP, for operators: `/admin/keys`. These routes exist only where requests need a token.
//!
//! A subject that is no operator sees its own keys, as it sees its own bookings: two subjects cannot tell that the other one has
//! used a key.

mod input;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use idempotency::{Idempotency, store::Record};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    app::App,
    booking::Whose,
    caller::Caller,
    database::DatabaseError,
    error::ApiError,
    keys::{self, Change, Filter, Found, KeyId, Outcome, Position, Shown, View, Who},
    reads,
};
use input::{KeyPath, Listing, ResolveBody, ShowQuery};

/// How many lists are read and sent at once: each reads some tens of megabytes.
const MAX_LISTS: usize = 4;

/// How long a list may take. One that finds little reads the whole store.
pub(crate) const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one key may take.
const KEY_TIMEOUT: Duration = Duration::from_secs(15);

/// What operators ask and change.
pub(crate) fn routes() -> Router<App> {
    let lists = Arc::new(Semaphore::new(MAX_LISTS));
    Router::new()
        .route(
            "/admin/keys",
            get(list_keys).route_layer(middleware::from_fn_with_state(lists, reads::limit)),
        )
        .route("/admin/keys/{id}", get(show_key))
        .route("/admin/keys/{id}/release", post(release_key))
        .route("/admin/keys/{id}/resolve", post(resolve_key))
        .route("/admin/keys/{id}/erase", post(erase_key))
}

/// `GET /admin/keys`, in the order of ids.
async fn list_keys(
    State(app): State<App>,
    caller: Caller,
    listing: Listing,
) -> Result<Response, ApiError> {
    let idempotency = &app.idempotency;
    let own = own_label(idempotency, &caller);
    let filter = Filter {
        // Those of another label are not those of this subject.
        label: match (own, &listing.label) {
            (Some(own), Some(asked)) if *own != **asked => return Ok(Json([(); 0]).into_response()),
            (own, asked) => own.or_else(|| asked.clone()),
        },
        ..listing.filter
    };
    let mut position = listing.after.map_or(Position::Start, Position::After);
    let mut views = Vec::new();
    let mut last = None;
    let read = async {
        loop {
            let page = filter.next(idempotency, &mut position).await?;
            for listed in &page {
                if views.len() == listing.limit {
                    return Ok(true);
                }
                views.push(View::of(idempotency, listed));
                last = Some(KeyId::of(&listed.id));
            }
            if page.is_empty() {
                return Ok::<_, ApiError>(false);
            }
        }
    };
    let has_more = within(LIST_TIMEOUT, read).await?;
    let next = last.filter(|_| has_more);
    let link = next.map(|last| [(header::LINK, listing.query.next(&last))]);
    Ok((link, Json(views)).into_response())
}

/// `GET /admin/keys/{id}`
async fn show_key(
    State(app): State<App>,
    caller: Caller,
    KeyPath(id): KeyPath,
    ShowQuery { with_body }: ShowQuery,
) -> Result<Response, ApiError> {
    let idempotency = &app.idempotency;
    let read = async {
        match keys::find(idempotency, &id).await? {
            Found::One(record) => Ok(record),
            _ => Err(ApiError::UnknownKey),
        }
    };
    let record = within(KEY_TIMEOUT, read).await?;
    if !may_see(idempotency, &caller, &record) {
        return Err(ApiError::UnknownKey);
    }
    let shown = Shown::of(idempotency, &record, with_body)?;
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
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let even_if_running = false;
    change(
        app,
        caller,
        id,
        &headers,
        Change::Release { even_if_running },
    )
    .await
}

/// `POST /admin/keys/{id}/resolve`
async fn resolve_key(
    app: State<App>,
    caller: Caller,
    id: KeyPath,
    headers: HeaderMap,
    ResolveBody(prepared): ResolveBody,
) -> Result<Response, ApiError> {
    let change_to = Change::Resolve {
        prepared,
        even_if_running: false,
    };
    change(app, caller, id, &headers, change_to).await
}

/// `POST /admin/keys/{id}/erase`
async fn erase_key(
    app: State<App>,
    caller: Caller,
    id: KeyPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    change(app, caller, id, &headers, Change::Erase).await
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    KeyPath(id): KeyPath,
    headers: &HeaderMap,
    change: Change,
) -> Result<Response, ApiError> {
    let seen = headers.get(header::IF_MATCH).ok_or(ApiError::NothingSeen)?;
    let seen = seen
        .to_str()
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned();
    let subject = caller
        .subject()
        .expect("the routes of keys are behind the authentication");
    let who = Who::Subject(subject.as_str().into());
    // A client that leaves stops nothing: what was begun is done, and is in the log.
    let changing = tokio::spawn(async move {
        keys::change(&app.idempotency, &who, &id, Some(&seen), &change).await
    });
    let changed = within(KEY_TIMEOUT, async {
        let changed = changing.await.map_err(|_| ApiError::Panicked)?;
        changed.map_err(ApiError::from)
    });
    match changed.await? {
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

/// The label of the keys that the caller sees; `None` if it sees all.
pub(crate) fn own_label(idempotency: &Idempotency, caller: &Caller) -> Option<Box<str>> {
    match caller.whose() {
        Whose::Everyones => None,
        Whose::Of(subject) => {
            let label = idempotency.label_text(&keys::owner_label(&subject));
            Some(label.as_ref().into())
        }
    }
}

fn may_see(idempotency: &Idempotency, caller: &Caller, record: &Record) -> bool {
    own_label(idempotency, caller).is_none_or(|own| record.labels.label() == Some(&own))
}

pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let ended = timeout(limit, work).await;
    ended.unwrap_or(Err(ApiError::Database(DatabaseError::TimedOut)))
}
