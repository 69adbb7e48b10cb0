use std::{borrow::Cow, error::Error, fmt};

use crate::key::KeyError;

/// Why a [`KeyFn`](crate::key::KeyFn) cannot say what the key of a request is. The request does not run.
///
/// `?` makes one of a [`KeyError`], for which the client gets 400.
pub struct KeyRejection(Kind);

pub(crate) enum Kind {
    /// The value is not a key.
    Key(KeyError),
    /// The request is wrong in another way, which the response describes.
    Told(Cow<'static, str>),
    /// The service could not determine the key.
    Failed(Box<dyn Error + Send + Sync>),
    /// The body has not been read.
    NeedsBody,
}

impl KeyRejection {
    /// The client's mistake: it gets 400 with this text, which follows "is not valid: " and should not repeat what was sent.
    ///
    /// ```
    /// use idempotency::{IdempotencyKey, key::{KeyRejection, KeyRequest}};
    ///
    /// fn order(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
    ///     match request.header("x-order")? {
    ///         Some(order) if !order.expose().starts_with("O-") => {
    ///             Err(KeyRejection::new("an order's number begins with O-"))
    ///         }
    ///         order => Ok(order),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Told(what.into()))
    }

    /// The service's mistake: the client gets 500, and the error is logged.
    #[must_use]
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Kind::Failed(error.into()))
    }

    pub(super) const fn needs_body() -> Self {
        Self(Kind::NeedsBody)
    }

    #[cfg(feature = "axum")]
    pub(crate) const fn kind(&self) -> &Kind {
        &self.0
    }

    #[cfg(feature = "axum")]
    pub(crate) const fn is_too_long(&self) -> bool {
        matches!(self.0, Kind::Key(KeyError::TooLong))
    }
}

impl From<KeyError> for KeyRejection {
    fn from(error: KeyError) -> Self {
        Self(Kind::Key(error))
    }
}

/// The description in the response, if there is one.
impl fmt::Display for KeyRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // Double quotes help in header fields only.
            Kind::Key(KeyError::Character) => {
                formatter.write_str("it has a character that is not printable ASCII")
            }
            Kind::Key(error) => error.fmt(formatter),
            Kind::Told(what) => formatter.write_str(what),
            Kind::Failed(_) => formatter.write_str("the key of a request cannot be determined"),
            Kind::NeedsBody => formatter.write_str("the body has not been read"),
        }
    }
}

impl fmt::Debug for KeyRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyRejection({self})")
    }
}

impl Error for KeyRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Key(error) => Some(error),
            Kind::Failed(error) => Some(error.as_ref()),
            Kind::Told(_) | Kind::NeedsBody => None,
        }
    }
}
