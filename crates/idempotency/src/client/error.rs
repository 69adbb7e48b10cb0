//! Why an intent has no response. Each variant says what the application may do next.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use http::StatusCode;

use super::response::Response;

/// Why [`send`](super::RetryingClient::send) has no response.
///
/// Some errors say that this call sent nothing; an earlier one, perhaps before a crash, may have. After every error the operation
/// may have taken effect, unless its intent is a new one and nothing was sent: another intent for the same operation could make
/// it happen twice.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The request cannot be built, such as for an invalid URL. This call sent nothing.
    InvalidRequest(reqwest::Error),
    /// The body is a stream, which can be sent only once. This call sent nothing.
    BodyNotRepeatable,
    /// The request has an `Idempotency-Key` already; the intent sets it. This call sent nothing.
    KeyInRequest,
    /// The intent was begun with another request: method, URL, `Content-Type`, tenant or body differ. This call sent
    /// nothing, and the other request may have taken effect: send that one again.
    OtherRequest,
    /// The intent is [finished](super::Intent::finish), or another process has forgotten it while this one had it. This call sent
    /// nothing, and nothing more will be sent.
    Finished,
    /// The service may have forgotten the key, so the same request could take effect twice. It was not sent again. Find out
    /// whether the operation has happened, then [`forget`](super::Intent::forget) the intent.
    Expired,
    /// The intent could not be read from disk or written to it. This call sent nothing.
    Intent(IntentError),
    /// This attempt was refused, as by a proxy or a check of the credentials, and an earlier one may have taken effect. Keep the
    /// intent, remove the cause, and send the same request under it again.
    RetryRefused(Box<Response>),
    /// 422: the service has seen the key with another request. That is a bug of the client, or two clients share a key.
    KeyReused(Box<Response>),
    /// 409: an earlier attempt was interrupted, and the service does not know whether it took effect. Ask its operator; a
    /// retry can get a response later.
    OutcomeUnknown(Box<Response>),
    /// 409 or 410: the operation took effect, and its response was not stored, or was erased. Read the result elsewhere, such
    /// as at the response's `Location`.
    ResponseGone(Box<Response>),
    /// A response arrived whose body is longer than the client reads. A retry may get the same one.
    ResponseTooLong {
        /// The status of that response.
        status: StatusCode,
    },
    /// The attempts or the time are used up.
    GaveUp(GaveUp),
}

/// What was tried before the client gave up.
#[derive(Debug)]
#[non_exhaustive]
pub struct GaveUp {
    /// How many attempts were made.
    pub attempts: u32,
    /// How long the service asks to wait before the next attempt, if its last response says so.
    pub retry_after: Option<Duration>,
    /// How the last attempt ended.
    pub last: LastAttempt,
}

/// How the last attempt ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum LastAttempt {
    /// 409: the same request is still running.
    InProgress(Box<Response>),
    /// Any other response that allows a retry.
    Response(Box<Response>),
    /// No whole response arrived, or no connection could be made.
    NoResponse(reqwest::Error),
    /// No whole response arrived in time.
    TimedOut,
}

impl LastAttempt {
    /// Whether the request may have reached the service.
    pub(super) fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::NoResponse(error) if error.is_connect())
    }
}

/// Why an intent on disk could not be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum IntentError {
    /// No folder of intents is there: the path is wrong, its disk is not mounted, or it was never
    /// [created](super::IntentFolder::create). A new one in its place would lose the keys that were sent.
    NoFolder {
        /// Where it should be.
        path: PathBuf,
    },
    /// The folder or a file in it could not be read or written, or not in time.
    Io {
        /// The folder or the file.
        path: PathBuf,
        /// What prevented it.
        source: io::Error,
    },
    /// The file is not that of this intent, or of a newer version. It is not overwritten: its key may have been sent.
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(_) => formatter.write_str("the request cannot be built"),
            Self::BodyNotRepeatable => {
                formatter.write_str("the request's body is a stream, which cannot be sent again")
            }
            Self::KeyInRequest => formatter.write_str("the request has a key of its own"),
            Self::OtherRequest => {
                formatter.write_str("the intent was begun with another request, which may have taken effect")
            }
            Self::Finished => formatter.write_str("the intent is finished; nothing was sent"),
            Self::Expired => formatter.write_str(
                "the intent's key may have expired, so the request could take effect twice; it was not sent",
            ),
            Self::Intent(_) => formatter.write_str("the intent cannot be kept on disk"),
            Self::RetryRefused(response) => write!(
                formatter,
                "a retry was refused ({}), and an earlier attempt may have taken effect",
                response.status()
            ),
            Self::KeyReused(_) => {
                formatter.write_str("the service has seen the key with another request")
            }
            Self::OutcomeUnknown(_) => formatter.write_str(
                "the service does not know whether the operation took effect; ask its operator",
            ),
            Self::ResponseGone(response) => write!(
                formatter,
                "the operation took effect, and its response is gone ({})",
                response.status()
            ),
            Self::ResponseTooLong { status } => {
                write!(formatter, "the response ({status}) is too long")
            }
            Self::GaveUp(gave_up) => gave_up.fmt(formatter),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidRequest(error) => Some(error),
            Self::Intent(error) => Some(error),
            Self::GaveUp(gave_up) => gave_up.source(),
            Self::BodyNotRepeatable
            | Self::KeyInRequest
            | Self::OtherRequest
            | Self::Finished
            | Self::Expired
            | Self::RetryRefused(_)
            | Self::KeyReused(_)
            | Self::OutcomeUnknown(_)
            | Self::ResponseGone(_)
            | Self::ResponseTooLong { .. } => None,
        }
    }
}

impl From<IntentError> for SendError {
    fn from(error: IntentError) -> Self {
        Self::Intent(error)
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = self.attempts;
        write!(formatter, "no final response after {attempts} attempts; ")?;
        match &self.last {
            LastAttempt::InProgress(_) => formatter.write_str("the request is still running"),
            LastAttempt::Response(response) => {
                write!(formatter, "the last one got {}", response.status())
            }
            LastAttempt::NoResponse(_) => formatter.write_str("the last one got no response"),
            LastAttempt::TimedOut => formatter.write_str("the last one got no response in time"),
        }
    }
}

impl Error for GaveUp {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.last {
            LastAttempt::NoResponse(error) => Some(error),
            LastAttempt::InProgress(_) | LastAttempt::Response(_) | LastAttempt::TimedOut => None,
        }
    }
}

impl fmt::Display for IntentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFolder { path } => {
                write!(formatter, "{} is no folder of intents", path.display())
            }
            Self::Io { path, .. } => write!(formatter, "{} cannot be used", path.display()),
            Self::Unreadable { path } => {
                write!(formatter, "{} is not a known intent", path.display())
            }
        }
    }
}

impl Error for IntentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::NoFolder { .. } | Self::Unreadable { .. } => None,
        }
    }
}
