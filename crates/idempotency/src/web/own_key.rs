//! The key of a request whose endpoint has a function to find it.

use bytes::Bytes;
use http::{HeaderMap, request::Parts};

use super::{complete::Complete, problem::Problem};
use crate::{
    HttpConfig, Idempotency, IdempotencyKey,
    key::{KeyFn, KeyRequest, Kind},
    log_text::Causes,
    options::EffectiveOptions,
};

/// What the head of a request says of its key.
pub(super) enum Keyed {
    By(IdempotencyKey),
    /// It passes unprotected.
    Not,
    /// Only the body contains it.
    InBody(KeyFn),
}

impl Keyed {
    /// Of a request that has no key and needs none, unless early data needs one.
    pub(super) fn not(config: &HttpConfig, headers: &HeaderMap) -> Result<Self, Problem> {
        if config.refuses_without_key(headers) {
            Err(Problem::EarlyData)
        } else {
            Ok(Self::Not)
        }
    }
}

/// The key that the application's function finds, in the head, or with the body.
pub(super) fn own_key(
    find: KeyFn,
    config: &HttpConfig,
    options: &EffectiveOptions,
    head: &Parts,
    body: Option<&Bytes>,
) -> Result<Keyed, Problem> {
    let request = KeyRequest::read(head, body);
    let found = find(&request);
    // Also if the function has made something else of the error: what it returns without the body may not be the key.
    if request.lacked_body() {
        return Ok(Keyed::InBody(find));
    }
    let places = request.into_places();
    match found {
        Ok(None) if options.required => Err(Problem::OwnKeyMissing(places)),
        Ok(None) => Keyed::not(config, &head.headers),
        Ok(Some(key)) => Ok(Keyed::By(key)),
        Err(rejection) => match rejection.kind() {
            Kind::Key(_) | Kind::Told(_) => Err(Problem::OwnKeyMalformed(places, rejection)),
            Kind::Failed(_) | Kind::NeedsBody => {
                tracing::error!(
                    error = %Causes(&rejection),
                    "the key of a request cannot be determined"
                );
                Err(Problem::Misconfigured(NO_KEY))
            }
        },
    }
}

impl Complete {
    /// The key that protects this request, now that its body has been read.
    pub(super) fn key(
        &self,
        idempotency: &Idempotency,
        options: &EffectiveOptions,
        keyed: Keyed,
    ) -> Result<Option<IdempotencyKey>, Problem> {
        let find = match keyed {
            Keyed::By(key) => return Ok(Some(key)),
            Keyed::Not => return Ok(None),
            Keyed::InBody(find) => find,
        };
        let config = idempotency.http();
        match own_key(find, config, options, &self.parts, Some(&self.body))? {
            Keyed::By(key) => {
                self.check_length(&key, idempotency, options)?;
                Ok(Some(key))
            }
            Keyed::Not | Keyed::InBody(_) => Ok(None),
        }
    }
}

const NO_KEY: &str =
    "The service could not determine the key of this request. This attempt had no effect.";
