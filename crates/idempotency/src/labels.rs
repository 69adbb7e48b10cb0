//! What an operator finds a key by.

use std::{fmt, sync::Arc};

/// The longest label in bytes. What is longer is cut.
const MAX_LABEL: usize = 128;

/// A word of the application's own on a key, such as the customer's number, by which an operator finds it.
///
/// ```
/// use idempotency::{Label, Scope};
///
/// # let account = "account/42";
/// let scope = Scope::principal(account).labelled(Label::text(account));
/// ```
///
/// A label is for finding only: keys with one label stay apart. It is cut after 128 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label {
    pub(crate) text: Arc<str>,
    pub(crate) is_digest: bool,
}

impl Label {
    /// This text, which stands readable in the store. Control characters are replaced.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(text, false)
    }

    /// A digest of this text, keyed with the engine's secret: an operator who knows the text finds the key, and a copy of the
    /// store does not tell the text.
    #[must_use]
    pub fn digest(text: &str) -> Self {
        Self {
            text: text.into(),
            is_digest: true,
        }
    }

    fn new(text: &str, is_digest: bool) -> Self {
        let mut end = text.len().min(MAX_LABEL);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // PostgreSQL takes no NUL, and a terminal obeys what is left of them.
        let text: String = text[..end]
            .chars()
            .map(|character| {
                if character.is_control() {
                    '?'
                } else {
                    character
                }
            })
            .collect();
        Self {
            text: text.into(),
            is_digest,
        }
    }
}

/// What stands in a record of where its request came from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    route: Option<Arc<str>>,
    label: Option<Arc<str>>,
}

impl Labels {
    /// The labels that a store reads back.
    #[must_use]
    pub fn new(route: Option<&str>, label: Option<&str>) -> Self {
        Self {
            route: route.map(Into::into),
            label: label.map(Into::into),
        }
    }

    /// The method and the route's template, such as `POST /bookings/{id}/pay`; none where no router has matched the request, as
    /// around a whole router.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// What the application has said by [`Scope::labelled`](crate::Scope::labelled).
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    pub(crate) fn from_parts(route: Option<Arc<str>>, label: Option<Arc<str>>) -> Self {
        Self { route, label }
    }
}

/// A label may name a customer, and must not get into a log.
impl fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Labels")
            .field("route", &self.route)
            .field("has_label", &self.label.is_some())
            .finish()
    }
}

/// A label may name a customer, and must not get into a log.
impl fmt::Debug for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Label(…)")
    }
}
