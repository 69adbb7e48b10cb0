//! Keys that come from another place than the field `Idempotency-Key`.

mod place;
mod rejection;

#[cfg(feature = "axum")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{
    cell::{Cell, RefCell},
    fmt,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, request::Parts};
#[cfg(feature = "axum")]
use http::{Method, Request};

use crate::{
    IdempotencyKey,
    fingerprint::{Member, member},
    key::{KeyError, KeySyntax},
};

use place::Place;

pub(crate) use place::Places;
#[cfg(feature = "axum")]
pub(crate) use rejection::Kind;

pub use rejection::KeyRejection;

/// Gives the key of a request; `None` for a request without one. It must be deterministic.
pub type KeyFn = fn(&KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection>;

/// A request, as a [`KeyFn`] sees it: its head, and its body if the function asks for it.
///
/// ```
/// use idempotency::{IdempotencyKey, idempotent, key::{KeyRejection, KeyRequest}};
///
/// /// The client's own number of the order: `{"order": {"number": "2025-117"}}`.
/// fn order_number(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
///     request.member("order.number")
/// }
///
/// #[idempotent(required, key = order_number)]
/// async fn place_order(order: String) -> String {
///     order
/// }
/// ```
///
/// The function is called before the body is read. If it asks for the body, it is called again once the whole body is there. So a
/// request whose key is in its head is refused by its head alone.
///
/// [`header`](Self::header) and [`member`](Self::member) also note where the function looks for the key, which is what
/// clients and OpenAPI documents are told.
pub struct KeyRequest<'a> {
    head: &'a Parts,
    body: Option<&'a Bytes>,
    places: RefCell<Places>,
    /// Whether the function has requested the body before it was read.
    lacked_body: Cell<bool>,
}

impl<'a> KeyRequest<'a> {
    /// A request with this head and body, for tests of a [`KeyFn`].
    ///
    /// ```
    /// use bytes::Bytes;
    /// use idempotency::{IdempotencyKey, key::KeyRequest};
    ///
    /// let (head, ()) = http::Request::new(()).into_parts();
    /// let body = Bytes::from_static(br#"{"order": {"number": 117}}"#);
    /// let request = KeyRequest::new(&head, &body);
    /// assert_eq!(request.member("order.number")?, Some(IdempotencyKey::new("117")?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(head: &'a Parts, body: &'a Bytes) -> Self {
        Self::read(head, Some(body))
    }

    /// The request, with its body if it has been read.
    pub(crate) fn read(head: &'a Parts, body: Option<&'a Bytes>) -> Self {
        Self {
            head,
            body,
            places: RefCell::default(),
            lacked_body: Cell::default(),
        }
    }

    /// The head: method, URI, header fields and extensions.
    #[must_use]
    pub const fn head(&self) -> &'a Parts {
        self.head
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// If it has not been read. The function is called again with the body, whatever it returns now.
    pub fn body(&self) -> Result<&'a Bytes, KeyRejection> {
        self.places.borrow_mut().add(Place::Body);
        self.read_body()
    }

    /// The key in the header field of this name: its whole value, or the text between its double quotes.
    ///
    /// ```
    /// use idempotency::{IdempotencyKey, key::{KeyRejection, KeyRequest}};
    ///
    /// fn delivery(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
    ///     request.header("x-shopify-webhook-id")
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the value is not a key, is what a broken client sends in place of one, or has a comma, by which proxies join two lines;
    /// and if there are several lines. The client gets 400.
    pub fn header(&self, name: &str) -> Result<Option<IdempotencyKey>, KeyRejection> {
        let name: HeaderName = name.parse().map_err(KeyRejection::failed)?;
        let key = in_field(&self.head.headers, &name);
        self.places.borrow_mut().add(Place::Header(name));
        Ok(key?)
    }

    /// The key in the member of the JSON body with this path: a string, or an integer.
    ///
    /// A path has names between dots, such as `order.number`, or is a JSON Pointer (RFC 6901), such as `/order/number`. A number
    /// is the index in an array. There is no key if the body is empty, has no such member, or it is null. The media type is not
    /// looked at.
    ///
    /// # Errors
    ///
    /// If the body has not been read, as for [`body`](Self::body). Otherwise the client gets 400: if the body is not JSON, or
    /// repeats a member's name, or the member is neither a string nor an integer, or not a key.
    pub fn member(&self, path: &str) -> Result<Option<IdempotencyKey>, KeyRejection> {
        self.places.borrow_mut().add(Place::Member(path.into()));
        let body = self.read_body()?;
        if body.is_empty() {
            return Ok(None);
        }
        let member = member(body, path).ok_or_else(|| {
            KeyRejection::new("the body is not JSON, or repeats the name of a member")
        })?;
        match member {
            Member::Missing => Ok(None),
            Member::Text(text) | Member::Integer(text) => {
                Ok(Some(IdempotencyKey::not_placeholder(&text)?))
            }
            Member::Other => Err(KeyRejection::new("it is neither a string nor an integer")),
        }
    }

    /// Whether the function has asked for a body that was not read yet.
    #[cfg(feature = "axum")]
    pub(crate) fn lacked_body(&self) -> bool {
        self.lacked_body.get()
    }

    /// Where the function has looked for the key.
    #[cfg(feature = "axum")]
    pub(crate) fn into_places(self) -> Places {
        self.places.into_inner()
    }

    fn read_body(&self) -> Result<&'a Bytes, KeyRejection> {
        self.lacked_body.set(self.body.is_none());
        self.body.ok_or_else(KeyRejection::needs_body)
    }
}

/// The key in another field than `Idempotency-Key`, whose value need not follow the draft.
fn in_field(headers: &HeaderMap, name: &HeaderName) -> Result<Option<IdempotencyKey>, KeyError> {
    let mut lines = headers.get_all(name).iter();
    let value = match (lines.next(), lines.next()) {
        (None, _) => return Ok(None),
        (Some(line), None) => line.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return Err(KeyError::Repeated),
    };
    match value.first() {
        Some(b'"') => IdempotencyKey::from_field_value(value, KeySyntax::Quoted).map(Some),
        _ if value.contains(&b',') => Err(KeyError::Repeated),
        _ => {
            let value = str::from_utf8(value).map_err(|_| KeyError::Character)?;
            IdempotencyKey::not_placeholder(value).map(Some)
        }
    }
}

/// Where this function looks for the key of a request that has none.
#[cfg(feature = "axum")]
pub(crate) fn places_of(key: KeyFn) -> Places {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    let (head, ()) = request.into_parts();
    let nothing = Bytes::from_static(b"{}");
    // The function may expect what a real request has.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let request = KeyRequest::new(&head, &nothing);
        drop(key(&request));
        request.into_places()
    }));
    looked.unwrap_or_default()
}

impl fmt::Debug for KeyRequest<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyRequest")
            .field("method", &self.head.method)
            .field("is_read", &self.body.is_some())
            .finish_non_exhaustive()
    }
}
