//! The key of a request whose endpoint has a function to find it.

use bytes::Bytes;
use http::request::Parts;

use super::{complete::Complete, problem::Problem};
use crate::{
    IdempotencyKey, KeyFn, KeyRequest, key_source::Kind, log_text::Causes,
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

impl From<Option<IdempotencyKey>> for Keyed {
    fn from(key: Option<IdempotencyKey>) -> Self {
        key.map_or(Self::Not, Self::By)
    }
}

/// The key that the application's function finds, in the head, or with the body.
pub(super) fn own_key(
    find: KeyFn,
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
        Ok(key) => Ok(key.into()),
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
        options: &EffectiveOptions,
        keyed: Keyed,
    ) -> Result<Option<IdempotencyKey>, Problem> {
        match keyed {
            Keyed::By(key) => Ok(Some(key)),
            Keyed::Not => Ok(None),
            Keyed::InBody(find) => match own_key(find, options, &self.parts, Some(&self.body))? {
                Keyed::By(key) => Ok(Some(key)),
                Keyed::Not | Keyed::InBody(_) => Ok(None),
            },
        }
    }
}

const NO_KEY: &str =
    "The service could not determine the key of this request. This attempt had no effect.";
