//! Refusals as responses: the library's own, or the application's in their place.

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;

use super::problem::Problem;
use crate::{Disposition, HttpConfig, http_rejection::HttpRejection};

/// RFC 9457. Nothing in it repeats the key, the payload or the fingerprint.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// Marks a refusal that was made without knowing the engine: the response of an error that a handler returns.
#[derive(Clone, Copy, Debug)]
struct Provisional;

impl Problem {
    /// The response, marked so that layers further out do not store it.
    pub(super) fn into_response(self, config: &HttpConfig) -> Response {
        let rejection = self.describe(config).on_page(&config.docs);
        let mut response = document(config, &rejection);
        if let Self::ResponseNotStored {
            location: Some(location),
        } = &self
        {
            let location = location.clone();
            response.headers_mut().insert(header::LOCATION, location);
        }
        if let (Self::KeyReused, Some(url)) = (&self, &config.key_lookup) {
            add_lookup(&mut response, url);
        }
        customized(config, rejection, response)
    }

    /// The response of one of this library's errors, which the engine around the handler may replace: see [`settle`].
    pub(super) fn into_provisional_response(self) -> Response {
        let mut response = self.into_response(&HttpConfig::default());
        response.extensions_mut().insert(Provisional);
        response
    }
}

/// A handler's response as the client gets it. The response of one of this library's errors is replaced by the
/// application's own, if there is one.
pub(super) fn settle(config: &HttpConfig, mut response: Response) -> Response {
    let extensions = response.extensions_mut();
    if extensions.remove::<Provisional>().is_none() || config.rejection_response.is_none() {
        return response;
    }
    let Some(rejection) = extensions.remove::<HttpRejection>() else {
        return response;
    };
    // The handler made a response of its own from it.
    if response.status() != rejection.status() {
        return response;
    }
    let rejection = rejection.on_page(&config.docs);
    // The link points to the library's page so far.
    set_link(&mut response, &rejection);
    customized(config, rejection, response)
}

/// The application's response in place of the library's. It keeps the fields that tell the client what to do, and is
/// stored under the same conditions.
fn customized(config: &HttpConfig, rejection: HttpRejection, own: Response) -> Response {
    let custom = config.rejection_response.as_ref();
    let mut response = match custom.and_then(|custom| custom.respond(&rejection)) {
        None => own,
        Some(mut response) => {
            let disposition = own.extensions().get().copied();
            let headers = response.headers_mut();
            headers.remove(&config.replayed);
            headers.remove(&config.expires);
            headers.remove(&config.problem);
            let kept = own.headers().keys().filter(|name| !is_of_the_body(name));
            let kept: Vec<_> = kept.filter(|name| !headers.contains_key(*name)).collect();
            for name in kept {
                for value in own.headers().get_all(name) {
                    headers.append(name, value.clone());
                }
            }
            let disposition = disposition.unwrap_or(Disposition::Release);
            response.extensions_mut().insert(disposition);
            response
        }
    };
    response.extensions_mut().insert(rejection);
    response
}

/// Fields that describe the library's own body.
fn is_of_the_body(name: &HeaderName) -> bool {
    [
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
    ]
    .contains(name)
}

/// The library's own response.
fn document(config: &HttpConfig, rejection: &HttpRejection) -> Response {
    let document = Document {
        r#type: rejection.page(),
        title: rejection.title(),
        status: rejection.status().as_u16(),
        detail: rejection.detail(),
        code: rejection.code(),
        retry_after: rejection.retry_after_seconds(),
    };
    let body = serde_json::to_vec(&document).expect("strings and numbers can be written");

    let mut response = Response::new(Body::from(body));
    *response.status_mut() = rejection.status();
    response.extensions_mut().insert(Disposition::Release);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(&config.problem, HeaderValue::from_static(rejection.code()));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = rejection.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    set_link(&mut response, rejection);
    response
}

fn set_link(response: &mut Response, rejection: &HttpRejection) {
    let link = format!(
        "<{}>; rel=\"describedby\"; type=\"text/html\"",
        rejection.page()
    );
    if let Ok(link) = link.try_into() {
        response.headers_mut().insert(header::LINK, link);
    }
}

/// Links to where the owner of a key asks what it made (RFC 8288).
fn add_lookup(response: &mut Response, url: &str) {
    let link = format!("<{url}>; rel=\"related\"; title=\"What this key made\"");
    if let Ok(link) = link.try_into() {
        response.headers_mut().append(header::LINK, link);
    }
}
