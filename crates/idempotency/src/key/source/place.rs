use std::fmt;

use http::HeaderName;

/// A part of a request that may have its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header(HeaderName),
    /// A member of the JSON body.
    Member(Box<str>),
    Body,
}

/// The parts in which a function has looked for a key, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Vec<Place>);

impl Places {
    pub(super) fn add(&mut self, place: Place) {
        if !self.0.contains(&place) {
            self.0.push(place);
        }
    }

    #[cfg(feature = "axum")]
    pub(crate) fn as_slice(&self) -> &[Place] {
        &self.0
    }

    #[cfg(feature = "axum")]
    pub(crate) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|place| match place {
            Place::Header(name) => Some(name),
            Place::Member(_) | Place::Body => None,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "the header field {name}"),
            Self::Member(path) => write!(formatter, "the member {path} of the JSON body"),
            Self::Body => formatter.write_str("the body"),
        }
    }
}

/// A phrase for clients: `the header field webhook-id, or the member id of the JSON body`.
impl fmt::Display for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("a part of the request that the service determines");
        }
        for (index, place) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", or ")?;
            }
            place.fmt(formatter)?;
        }
        Ok(())
    }
}
