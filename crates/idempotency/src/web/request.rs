//! How a request is read: its key from the head alone, unless it is in the body, then its body, its fingerprint and its scope.

use std::{borrow::Cow, time::Duration};

use axum::extract::{MatchedPath, OriginalUri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

use super::{
    caller::{self, Caller},
    complete::Complete,
    own_key::{Keyed, own_key},
    principal::ProvedScope,
    problem::Problem,
};
use crate::{
    Fingerprint, HttpConfig, Idempotency, IdempotencyKey, Rejection,
    engine::Origin,
    fingerprint::{canonical_json, form_parts},
    key::KeyError,
    log_text::Causes,
    options::EffectiveOptions,
    store::Labels,
};

/// Which methods a key protects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Methods {
    /// POST, PATCH and other methods that are not idempotent, which a layer protects.
    NotIdempotent,
    /// All but the safe methods: on a handler for PUT or DELETE, the attribute is deliberate.
    NotSafe,
}

impl Methods {
    pub(super) fn protect(self, method: &Method) -> bool {
        match method.as_str() {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "CONNECT" => false,
            "PUT" | "DELETE" => matches!(self, Self::NotSafe),
            _ => true,
        }
    }
}

/// The key that protects this request. Reads neither the body nor the store.
pub(super) fn key(
    config: &HttpConfig,
    options: &EffectiveOptions,
    methods: Methods,
    head: &Parts,
) -> Result<Keyed, Problem> {
    // An offer to upgrade (RFC 9110 section 7.8) makes no difference: the JDK's client and `curl --http2` send it with
    // every plain request, and a response of 101 is not stored anyway.
    if !methods.protect(&head.method) {
        return Ok(Keyed::Not);
    }
    if let Some(key) = options.key {
        return own_key(key, config, options, head, None);
    }
    let read = |name| field(config, &head.headers, name).map_err(Problem::KeyMalformed);
    let key = read(&config.key)?;
    let former = match &config.former_key {
        Some(name) => read(name)?,
        None => None,
    };
    match (key, former) {
        (None, None) => {
            caller::warn_of_look_alikes(config, &head.headers);
            if options.required {
                Err(Problem::KeyMissing)
            } else {
                Keyed::not(config, &head.headers)
            }
        }
        (Some(key), Some(former)) if key != former => {
            Err(Problem::KeyMalformed(KeyError::Repeated))
        }
        (Some(key), _) | (None, Some(key)) => Ok(Keyed::By(key)),
    }
}

/// Whether no field of the head has a key.
pub(super) fn has_no_key(config: &HttpConfig, headers: &HeaderMap) -> bool {
    let former = config.former_key.as_ref();
    let is_there = headers.contains_key(&config.key)
        || former.is_some_and(|former| headers.contains_key(former));
    if !is_there {
        caller::warn_of_look_alikes(config, headers);
    }
    !is_there
}

/// The key in the field of this name.
fn field(
    config: &HttpConfig,
    headers: &HeaderMap,
    name: &HeaderName,
) -> Result<Option<IdempotencyKey>, KeyError> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        // Two lines would combine to a list, and RFC 9651 section 4.2 fails those for an Item.
        (Some(_), Some(_)) => Err(KeyError::Repeated),
        (Some(line), None) => {
            IdempotencyKey::from_field_value(line.as_bytes(), config.key_syntax).map(Some)
        }
    }
}

/// How long the client is willing to wait for the run that has its key: `Prefer: wait=N`, RFC 7240 section 4.3.
pub(super) fn patience(options: &EffectiveOptions, headers: &HeaderMap) -> Option<Duration> {
    const MAX_WAIT: Duration = Duration::from_secs(60);
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
        Some(seconds) => Some(Duration::from_secs(seconds).min(MAX_WAIT)),
        None => options.patience(),
    }
}

pub(super) const NO_SCOPE: &str = "The service could not determine who owns this key.";

/// What of a body counts, and in which form.
struct Content<'a> {
    form: &'static [u8],
    body: Cow<'a, [u8]>,
    parts: Vec<&'a [u8]>,
}

impl<'a> Content<'a> {
    const fn whole(form: &'static [u8], body: Cow<'a, [u8]>) -> Self {
        Self {
            form,
            body,
            parts: Vec::new(),
        }
    }
}

impl Complete {
    /// Its route, and how many bytes it keeps while it waits.
    pub(super) fn origin(&self, idempotency: &Idempotency) -> Origin {
        let matched = self.parts.extensions.get::<MatchedPath>();
        let method = self.parts.method.as_str();
        Origin {
            labels: matched.map_or_else(Labels::default, |path| {
                idempotency.labels_of(method, path.as_str())
            }),
            kept_bytes: self.body.len(),
        }
    }

    /// The caller's scope: from the options closest to the handler, and otherwise from the engine's function. That
    /// function can read the extension, and so comes before it.
    pub(super) fn caller(
        &self,
        idempotency: &Idempotency,
        options: &EffectiveOptions,
    ) -> Result<Caller<'_>, Problem> {
        let extensions = &self.parts.extensions;
        let found = match (extensions.get::<ProvedScope>(), options.scope) {
            (Some(ProvedScope(scope)), _) => Some(Ok(scope.clone())),
            (None, Some(scope)) => Some(scope(&self.parts)),
            (None, None) => idempotency
                .scope_of(&self.parts)
                .or_else(|| extensions.get().cloned().map(Ok)),
        };
        let verified = found.transpose().map_err(|error| {
            tracing::error!(
                error = %Causes(&*error),
                "the scope of a request cannot be determined"
            );
            Problem::Misconfigured(NO_SCOPE)
        })?;
        match verified {
            Some(scope) if scope.is_nobody() => Err(Rejection::NoPrincipal.into()),
            Some(scope) => Ok(Caller {
                scope,
                cookies: None,
            }),
            None => caller::caller(idempotency.http(), &self.parts.headers),
        }
    }

    /// Refuses a key that another caller may guess, or choose by chance, if the two cannot be told apart.
    pub(super) fn check_length(
        &self,
        key: &IdempotencyKey,
        idempotency: &Idempotency,
        options: &EffectiveOptions,
    ) -> Result<(), Problem> {
        let min = idempotency.http().min_anonymous_key_length;
        if key.expose().len() < min && self.caller(idempotency, options)?.scope.is_anonymous() {
            return Err(Problem::AnonymousKeyTooShort { min });
        }
        Ok(())
    }

    /// What the request asks: method, path, query, media type, body. The scheme and the authority do not count, because
    /// they differ between HTTP/1 and HTTP/2. Of the other header fields only cookies count, where nothing else
    /// identifies the caller.
    pub(super) fn fingerprint(
        &self,
        options: &EffectiveOptions,
        cookies: Option<&[&[u8]]>,
    ) -> Fingerprint {
        // Inside a nested router the request's own URI has lost its prefix.
        let uri = match self.parts.extensions.get::<OriginalUri>() {
            Some(OriginalUri(uri)) => uri,
            None => &self.parts.uri,
        };
        // Both describe content (RFC 9110 sections 8.3 and 8.4), but clients also send them without any.
        let (essence, coding) = if self.body.is_empty() {
            (Cow::default(), Cow::default())
        } else {
            (essence(&self.parts.headers), coding(&self.parts.headers))
        };
        let content = self.content(options, &essence, &coding);
        let asked = [
            self.parts.method.as_str().as_bytes(),
            uri.path().as_bytes(),
            match uri.query() {
                Some(_) => b"?".as_slice(),
                None => b"",
            },
            uri.query().unwrap_or_default().as_bytes(),
            &essence,
            &coding,
            content.form,
            &content.body,
        ];
        let cookies = cookies.unwrap_or_default();
        let more = content.parts.iter().chain(cookies).copied();
        Fingerprint::of(asked.into_iter().chain(more))
    }

    /// The part of the body that counts.
    fn content(&self, options: &EffectiveOptions, essence: &[u8], coding: &[u8]) -> Content<'_> {
        if let Some(fingerprint) = options.fingerprint {
            return Content::whole(b"custom", fingerprint(&self.parts, &self.body).into());
        }
        if is_json(essence)
            && let Some(canonical) = canonical_json(&self.body)
        {
            return Content::whole(b"json", canonical.into());
        }
        if essence == b"multipart/form-data"
            && coding.is_empty()
            && let Some(parts) = self.form_parts()
        {
            return Content {
                form: b"multipart",
                // The number of parts, so that what follows them cannot be taken for another part.
                body: (parts.len() as u64).to_be_bytes().to_vec().into(),
                parts,
            };
        }
        let mut content = Content::whole(b"raw", self.body.as_ref().into());
        if essence.starts_with(b"multipart/") {
            // With another boundary the same bytes are a different message.
            let lines = self.parts.headers.get_all(header::CONTENT_TYPE).iter();
            content.parts.extend(lines.map(HeaderValue::as_bytes));
        }
        content
    }

    fn form_parts(&self) -> Option<Vec<&[u8]>> {
        let mut lines = self.parts.headers.get_all(header::CONTENT_TYPE).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => form_parts(line.as_bytes(), &self.body),
            _ => None,
        }
    }
}

/// The media type of most bodies, exactly as most clients write it.
const JSON: &[u8] = b"application/json";

/// `type/subtype` in lower case, without parameters.
fn essence(headers: &HeaderMap) -> Cow<'_, [u8]> {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.map_or(b"".as_slice(), HeaderValue::as_bytes);
    if value == JSON {
        return JSON.into();
    }
    let end = value.iter().position(|&byte| byte == b';');
    let essence = value[..end.unwrap_or(value.len())].trim_ascii();
    if essence.iter().any(u8::is_ascii_uppercase) {
        essence.to_ascii_lowercase().into()
    } else {
        essence.into()
    }
}

/// The content codings in lower case, in the order in which they were applied; `identity` is not a coding.
fn coding(headers: &HeaderMap) -> Cow<'_, [u8]> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    let Some(first) = codings.next() else {
        return Cow::default();
    };
    let mut coding = first.to_ascii_lowercase();
    for next in codings {
        coding.push(b',');
        coding.extend(next.to_ascii_lowercase());
    }
    coding.into()
}

/// Whether this is gRPC, or gRPC-Web, of whatever message format.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    essence(headers).starts_with(b"application/grpc")
}

fn is_json(essence: &[u8]) -> bool {
    essence == JSON || essence.ends_with(b"+json")
}
