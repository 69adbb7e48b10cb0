//! The labels by which an operator finds a key.

use std::{fmt, sync::Arc};

/// The longest label in bytes. A longer one is cut.
const MAX_LABEL: usize = 128;

/// A word that the application puts on a key, such as a customer's number, so that an operator can find the key by it.
///
/// ```
/// use idempotency::{Label, Scope};
///
/// # let account = "account/42";
/// let scope = Scope::principal(account).labelled(Label::text(account));
/// ```
///
/// A label only helps to find keys: keys with the same label stay separate. It is cut after 128 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label {
    pub(crate) text: Arc<str>,
    pub(crate) is_digest: bool,
}

impl Label {
    /// This text, which the store holds in plain text. Control characters are replaced.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(text, false)
    }

    /// A digest of this text, keyed with the engine's secret. An operator who knows the text can find the key; a copy
    /// of the store does not reveal the text.
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
        // PostgreSQL rejects NUL, and a terminal would act on the other control characters.
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

/// What a record says about where its request came from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<Texts>>);

/// Behind one handle, because the records of a route have the same texts unless they have a label.
#[derive(PartialEq, Eq)]
struct Texts {
    route: Option<Arc<str>>,
    label: Option<Arc<str>>,
}

impl Labels {
    /// Labels that a store reads back.
    #[must_use]
    pub fn new(route: Option<&str>, label: Option<&str>) -> Self {
        Self::of(route.map(Into::into), label.map(Into::into))
    }

    /// The method and the route's template, such as `POST /bookings/{id}/pay`. It is `None` if no router has matched
    /// the request yet, as in a layer around a whole router.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.0.as_ref()?.route.as_deref()
    }

    /// The label that the application set by [`Scope::labelled`](crate::Scope::labelled).
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.0.as_ref()?.label.as_deref()
    }

    /// The same route with this label.
    pub(crate) fn with_label(&self, label: Arc<str>) -> Self {
        let route = self.0.as_ref().and_then(|texts| texts.route.clone());
        Self::of(route, Some(label))
    }

    fn of(route: Option<Arc<str>>, label: Option<Arc<str>>) -> Self {
        let is_empty = route.is_none() && label.is_none();
        Self((!is_empty).then(|| Arc::new(Texts { route, label })))
    }
}

/// The text is hidden: a label may name a customer and must not get into a log.
impl fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Labels")
            .field("route", &self.route())
            .field("has_label", &self.label().is_some())
            .finish()
    }
}

/// The text is hidden: a label may name a customer and must not get into a log.
impl fmt::Debug for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Label(…)")
    }
}
