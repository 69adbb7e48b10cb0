//! Where keys are: in a store that this process opens, or in a service that runs.

use std::slice;

use idempotency::{
    Idempotency,
    log_text::Causes,
    store::{Listed, Record, StoreError},
};

use super::{failed, filter, service::Service};
use crate::{
    config::KeyFilter,
    keys::{Change, Filter, KeyId, Outcome, Position, View, WantedPhase, Who, change, change_seen},
};

/// Where keys are.
pub(super) enum Source {
    Store(Box<Idempotency>),
    Service(Service),
}

/// A key of a list.
pub(super) struct Item {
    pub(super) view: View,
    /// What was seen of it, where this process has the store.
    record: Option<Result<Record, StoreError>>,
    /// Whether a release of what the filter finds leaves this one alone; see [`Filter::spares`].
    pub(super) is_spared: bool,
}

/// The result of a change.
pub(super) struct Changed {
    pub(super) is_done: bool,
    pub(super) result: String,
}

/// The keys that a filter finds, a page after another.
pub(super) struct Listing<'a>(Place<'a>);

enum Place<'a> {
    Store {
        idempotency: &'a Idempotency,
        filter: Filter,
        position: Position,
    },
    Service {
        service: &'a Service,
        /// `None` at the end.
        next: Option<String>,
        /// Whether suspended keys were not asked for by name.
        spares_suspended: bool,
    },
}

impl Source {
    /// The keys of the filter in this phase, unless it asks for another one.
    pub(super) fn list(&self, asked: &KeyFilter, phase: Option<WantedPhase>) -> Listing<'_> {
        Listing(match self {
            Self::Store(idempotency) => Place::Store {
                idempotency,
                filter: filter(idempotency, asked, phase),
                position: Position::Start,
            },
            Self::Service(service) => Place::Service {
                service,
                next: Some(Service::first_page(asked, phase)),
                spares_suspended: !asked.suspended,
            },
        })
    }

    /// Changes a key, if it still has this version, where one is given.
    pub(super) async fn change(
        &self,
        who: &Who,
        id: &KeyId,
        version: Option<&str>,
        to: &Change,
    ) -> Changed {
        match self {
            Self::Store(idempotency) => {
                let seen = version.as_ref().map(slice::from_ref);
                change(idempotency, who, id, seen, to).await.into()
            }
            Self::Service(service) => service.change(id, version, to).await.into(),
        }
    }

    /// Changes a key that a list has shown, if it is still as it was then.
    pub(super) async fn change_seen(&self, who: &Who, item: Item, to: &Change) -> Changed {
        match (self, item.record, item.view) {
            (Self::Store(idempotency), Some(Ok(seen)), _) => {
                change_seen(idempotency, who, &seen, to).await.into()
            }
            (_, Some(Err(unreadable)), _) => Err::<Outcome, _>(unreadable).into(),
            (source, _, View::Readable(key)) => match key.id.parse() {
                Ok(id) => source.change(who, &id, Some(&key.version), to).await,
                Err(error) => Err::<Changed, _>(error).into(),
            },
            (_, _, View::Unreadable { error, .. }) => Err::<Changed, _>(error).into(),
        }
    }
}

impl Listing<'_> {
    /// The next keys, none of them only at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Item>, String> {
        match &mut self.0 {
            Place::Store {
                idempotency,
                filter,
                position,
            } => {
                let page = filter.next(idempotency, position).await;
                let page = page.map_err(|error| failed(&error))?;
                let item = |listed: Listed| Item {
                    view: View::of(idempotency, &listed),
                    is_spared: listed
                        .record
                        .as_ref()
                        .is_ok_and(|record| filter.spares(record)),
                    record: Some(listed.record),
                };
                Ok(page.into_iter().map(item).collect())
            }
            Place::Service {
                service,
                next,
                spares_suspended,
            } => loop {
                let Some(path) = next.take() else {
                    return Ok(Vec::new());
                };
                let (views, following) = service.page(&path).await?;
                *next = following;
                if !views.is_empty() {
                    let item = |view| Item {
                        is_spared: *spares_suspended
                            && matches!(&view, View::Readable(key) if key.phase == "suspended"),
                        view,
                        record: None,
                    };
                    return Ok(views.into_iter().map(item).collect());
                }
            },
        }
    }
}

impl From<Outcome> for Changed {
    fn from(outcome: Outcome) -> Self {
        Self {
            is_done: outcome == Outcome::Done,
            result: outcome.to_string(),
        }
    }
}

impl From<Result<Outcome, StoreError>> for Changed {
    fn from(changed: Result<Outcome, StoreError>) -> Self {
        match changed {
            Ok(outcome) => outcome.into(),
            Err(error) => Self {
                is_done: false,
                result: format!("failed: {}", Causes(&error)),
            },
        }
    }
}

impl From<Result<Self, String>> for Changed {
    fn from(changed: Result<Self, String>) -> Self {
        changed.unwrap_or_else(|error| Self {
            is_done: false,
            result: format!("failed: {error}"),
        })
    }
}
