//! The input of requests to `/admin/keys`.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts},
};
use idempotency::store::RecordId;
use serde::Deserialize;

use crate::{
    error::ApiError,
    keys::{Filter, KeyId, Prepared, WantedPhase, escaped},
    tokens::Subject,
};

/// The id in the path. Text that is not an id gets the response for an unknown key.
pub(crate) struct KeyPath(pub(crate) KeyId);

/// Which keys to list.
pub(crate) struct Listing {
    pub(crate) filter: Filter,
    pub(crate) label: Option<Box<str>>,
    /// Whose keys, by name. Only operators ask so.
    pub(crate) subject: Option<Subject>,
    pub(crate) limit: usize,
    pub(crate) after: Option<RecordId>,
    /// The request's query, for the link to the next page.
    pub(crate) query: RawListing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListing {
    phase: Option<String>,
    older_than: Option<String>,
    label: Option<String>,
    subject: Option<String>,
    route: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

/// A key that is named by its subject and by the key itself.
pub(crate) struct NamedQuery {
    pub(crate) subject: Subject,
    /// Whether the key was sent with an operator's token.
    pub(crate) operator: bool,
    pub(crate) with_body: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNamed {
    subject: String,
    operator: Option<bool>,
    body: Option<bool>,
}

/// Whether a run may be ended whose lease has not expired: `?even_if_running=true`.
pub(crate) struct ChangeQuery {
    pub(crate) even_if_running: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChange {
    even_if_running: Option<bool>,
}

/// Whether the body of the response is shown: `?body=true`.
pub(crate) struct ShowQuery {
    pub(crate) with_body: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShow {
    body: Option<bool>,
}

/// The response to store for a key.
pub(crate) struct ResolveBody(pub(crate) Prepared);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResolve {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    ttl_seconds: Option<u32>,
}

/// The longest body that the library stores, as JSON: an escaped control character takes six bytes. The rest is for the other members.
pub(crate) const MAX_RESOLVE: usize = 6 * Prepared::MAX_BODY + 256 * 1024;

/// A response with more would be one that no service sends.
const MAX_FIELDS: usize = 256;

/// How long a response is stored by default.
const TTL_SECONDS: u32 = 24 * 3600;

impl RawListing {
    /// The Link header field to the page after this key.
    pub(crate) fn next(&self, last: &KeyId) -> String {
        let members = [
            ("phase", &self.phase),
            ("older_than", &self.older_than),
            ("label", &self.label),
            ("subject", &self.subject),
            ("route", &self.route),
            ("limit", &self.limit),
        ];
        let mut query = String::new();
        for (name, value) in members {
            if let Some(value) = value {
                query.extend([name, "=", &escaped(value), "&"]);
            }
        }
        format!("</admin/keys?{query}after={last}>; rel=\"next\"")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or(ApiError::UnknownKey)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(raw) = Query::<RawListing>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                malformed("The query may have phase, older_than, label or subject, route, limit and after, each once.")
            })?;
        let phase = match raw.phase.as_deref().map(WantedPhase::named) {
            None => None,
            Some(Some(phase)) => Some(phase),
            Some(None) => {
                return Err(malformed(
                    "phase must be in-flight, stuck, suspended or completed.",
                ));
            }
        };
        let subject = raw.subject.as_deref().map(subject).transpose()?;
        if subject.is_some() && raw.label.is_some() {
            return Err(malformed("Name a label or a subject, and not both."));
        }
        let older_than = raw.older_than.as_deref().map(str::parse).transpose();
        let older_than = older_than
            .map_err(|_| malformed("older_than must be a number and s, m, h or d, such as 10m."))?;
        let limit = match raw.limit.as_deref().map(str::parse) {
            None => 100,
            Some(Ok(limit @ 1..=1000)) => limit,
            Some(_) => return Err(malformed("limit must be a whole number from 1 to 1000.")),
        };
        let after = match raw.after.as_deref().map(str::parse::<KeyId>) {
            None => None,
            Some(after) => {
                let after = after.ok().and_then(|after| after.whole());
                Some(after.ok_or_else(|| malformed("after must be the whole id of a key."))?)
            }
        };
        Ok(Self {
            filter: Filter {
                phase,
                older_than,
                labels: Vec::new(),
                route: raw.route.as_deref().map(Into::into),
            },
            label: raw.label.as_deref().map(Into::into),
            subject,
            limit,
            after,
            query: raw,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ShowQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(raw) = Query::<RawShow>::from_request_parts(parts, state)
            .await
            .map_err(|_| malformed("The query may have body, which is true or false."))?;
        Ok(Self {
            with_body: raw.body.unwrap_or_default(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(raw) = Query::<RawNamed>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                malformed(
                    "The query must have subject, and may have operator and body, which are true or false.",
                )
            })?;
        Ok(Self {
            subject: subject(&raw.subject)?,
            operator: raw.operator.unwrap_or_default(),
            with_body: raw.body.unwrap_or_default(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ChangeQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(raw) = Query::<RawChange>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                malformed("The query may have even_if_running, which is true or false.")
            })?;
        Ok(Self {
            even_if_running: raw.even_if_running.unwrap_or_default(),
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for ResolveBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        const MEMBERS: &str = "The body must be a JSON object with status, and may have headers, a list of pairs, body, a string, \
             and ttl_seconds.";
        let body =
            Bytes::from_request(request, state)
                .await
                .map_err(|error| match error.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
                    _ => malformed("The body could not be read to its end."),
                })?;
        let raw: RawResolve = serde_json::from_slice(&body).map_err(|_| malformed(MEMBERS))?;
        // The library would store a tombstone in its place.
        if raw.body.len() > Prepared::MAX_BODY {
            return Err(ApiError::TooLarge);
        }
        let status = StatusCode::from_u16(raw.status).ok();
        let status = status.filter(|status| (200..=599).contains(&status.as_u16()));
        let ttl = Duration::from_secs(raw.ttl_seconds.unwrap_or(TTL_SECONDS).into());
        if ttl < Prepared::MIN_TTL {
            return Err(malformed("ttl_seconds must be 60 or more."));
        }
        if raw.headers.len() > MAX_FIELDS {
            return Err(malformed("headers must be a list of at most 256 pairs."));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in raw.headers {
            let field = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
            let (Ok(name), Ok(value)) = field else {
                return Err(malformed(
                    "headers must be a list of pairs of a name and a value.",
                ));
            };
            headers.append(name, value);
        }
        Ok(Self(Prepared {
            status: status.ok_or_else(|| malformed("status must be from 200 to 599."))?,
            headers,
            body: raw.body.into(),
            ttl,
        }))
    }
}

fn subject(text: &str) -> Result<Subject, ApiError> {
    text.parse()
        .map_err(|_| malformed("subject must be 1 to 128 visible ASCII characters."))
}

fn malformed(detail: &'static str) -> ApiError {
    ApiError::Malformed(detail.into())
}
