//! How a request is read: its key from the head alone, then its body, then what it asks and whose it is.

use std::{borrow::Cow, time::Duration};

use axum::{
    RequestExt,
    body::Body,
    extract::{OriginalUri, Request},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use http_body_util::{BodyExt, Full, LengthLimitError};

use super::{HttpConfig, problem::Problem};
use crate::{
    Fingerprint, IdempotencyKey, KeyError, Options, Refusal, Scope, canonical_json,
    log_text::Causes,
};

/// Which methods a key protects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Methods {
    /// POST, PATCH and other methods that are not idempotent: what a layer protects unasked.
    NotIdempotent,
    /// All but the safe ones: an attribute on a handler for PUT or DELETE means it.
    NotSafe,
}

impl Methods {
    fn protect(self, method: &Method) -> bool {
        match method.as_str() {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "CONNECT" => false,
            "PUT" | "DELETE" => matches!(self, Self::NotSafe),
            _ => true,
        }
    }
}

/// The key by which this request is protected; `None` for a request that goes through as if there were no
/// protection. Neither the body nor the store is touched.
pub(super) fn key(
    config: &HttpConfig,
    options: &Options,
    methods: Methods,
    request: &Request,
) -> Result<Option<IdempotencyKey>, Problem> {
    // An offer to upgrade (RFC 9110 section 7.8) changes nothing: the JDK's client and `curl --http2` make it with every
    // plain request, and a response of 101 is not stored anyway.
    if !methods.protect(request.method()) {
        return Ok(None);
    }
    let mut lines = request.headers().get_all(&config.key).iter();
    match (lines.next(), lines.next()) {
        (None, _) if options.required => Err(Problem::KeyMissing),
        (None, _) => Ok(None),
        // Two lines would combine to a list, and RFC 9651 section 4.2 fails those for an Item.
        (Some(_), Some(_)) => Err(Problem::KeyMalformed(KeyError::Repeated)),
        (Some(line), None) => IdempotencyKey::from_field_value(line.as_bytes(), config.strict)
            .map(Some)
            .map_err(Problem::KeyMalformed),
    }
}

/// How long the client would wait for the run that has its key: `Prefer: wait=N`, RFC 7240 section 4.3.
pub(super) fn patience(options: &Options, headers: &HeaderMap) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(60);
    let wanted = headers.get_all("prefer").iter().find_map(|line| {
        let mut preferences = line.to_str().ok()?.split([',', ';']);
        preferences.find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            let value = value.trim().trim_matches('"');
            name.trim()
                .eq_ignore_ascii_case("wait")
                .then(|| value.parse().ok())
                .flatten()
        })
    });
    match wanted {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds).min(MOST)),
        None => options.patience(),
    }
}

/// The request's body, read to its end, beside a head that can still be handed on.
pub(super) struct Complete {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    trailers: Option<HeaderMap>,
}

/// Reads the body to its end, within the limit that axum's `DefaultBodyLimit` sets.
pub(super) async fn complete(request: Request) -> Result<Complete, Problem> {
    let (parts, body) = request.with_limited_body().into_parts();
    let collected = body
        .collect()
        .await
        .map_err(|error| match is_limit(&error) {
            true => Problem::ContentTooLarge,
            false => Problem::ContentIncomplete,
        })?;
    let trailers = collected.trailers().cloned();
    Ok(Complete {
        parts,
        body: collected.to_bytes(),
        trailers,
    })
}

pub(super) const NO_SCOPE: &str = "The service could not tell whose key this is.";

/// What axum gives tells a limit from a broken connection only by its innermost cause.
fn is_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Complete {
    /// The request as it came, for the handler.
    pub(super) fn into_request(self) -> Request {
        let body = match self.trailers {
            None => Body::from(self.body),
            Some(trailers) => {
                Body::new(Full::new(self.body).with_trailers(async { Some(Ok(trailers)) }))
            }
        };
        Request::from_parts(self.parts, body)
    }

    /// Whose request it is.
    pub(super) fn scope(&self, options: &Options) -> Result<Scope, Problem> {
        let scope = if let Some(scope) = options.scope {
            scope(&self.parts).map_err(|error| {
                tracing::error!(
                    error = %Causes(&*error),
                    "the scope of a request is not known"
                );
                Problem::Misconfigured(NO_SCOPE)
            })?
        } else if let Some(scope) = self.parts.extensions.get::<Scope>() {
            scope.clone()
        } else {
            let mut lines = self.parts.headers.get_all(header::AUTHORIZATION).iter();
            match (lines.next(), lines.next()) {
                (None, _) => Scope::anonymous(),
                (Some(line), None) => Scope::credentials(line.as_bytes()),
                // Who verifies them may read another line than this, and then one caller has two scopes, or two have one.
                (Some(_), Some(_)) => return Err(Problem::CredentialsRepeated),
            }
        };
        match scope.is_nobody() {
            true => Err(Refusal::NoPrincipal.into()),
            false => Ok(scope),
        }
    }

    /// What is asked: method, path, query, media type, body. Not the scheme and the authority, which differ
    /// between HTTP/1 and HTTP/2, nor any other header.
    pub(super) fn fingerprint(&self, options: &Options) -> Fingerprint {
        // Inside a nested router the request's own URI has lost its prefix.
        let uri = match self.parts.extensions.get::<OriginalUri>() {
            Some(OriginalUri(uri)) => uri,
            None => &self.parts.uri,
        };
        let essence = essence(&self.parts.headers);
        let (form, body): (&[u8], Cow<'_, [u8]>) = if let Some(fingerprint) = options.fingerprint {
            (b"custom", fingerprint(&self.parts, &self.body).into())
        } else if is_json(&essence)
            && let Some(canonical) = canonical_json(&self.body)
        {
            (b"json", canonical.into())
        } else {
            (b"raw", self.body.as_ref().into())
        };
        Fingerprint::of([
            self.parts.method.as_str().as_bytes(),
            uri.path().as_bytes(),
            match uri.query() {
                Some(_) => b"?".as_slice(),
                None => b"",
            },
            uri.query().unwrap_or_default().as_bytes(),
            &essence,
            value(&self.parts.headers, &header::CONTENT_ENCODING),
            form,
            &body,
        ])
    }
}

/// `type/subtype` in lower case, without parameters.
fn essence(headers: &HeaderMap) -> Cow<'_, [u8]> {
    let value = value(headers, &header::CONTENT_TYPE);
    let end = value.iter().position(|&byte| byte == b';');
    let essence = value[..end.unwrap_or(value.len())].trim_ascii();
    match essence.iter().any(u8::is_ascii_uppercase) {
        true => essence.to_ascii_lowercase().into(),
        false => essence.into(),
    }
}

fn is_json(essence: &[u8]) -> bool {
    essence == b"application/json" || essence.ends_with(b"+json")
}

fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a [u8] {
    headers
        .get(name)
        .map(http::HeaderValue::as_bytes)
        .unwrap_or_default()
}
