//! A client that sends a request until it has its response, each time with the same key.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use idempotency::{
//!     client::{IntentFolder, RetryingClient},
//!     reqwest,
//! };
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = RetryingClient::new(reqwest::Client::builder())?
//!     .with_deadline(Duration::from_secs(60))
//!     // As the service publishes it.
//!     .with_ttl(Duration::from_secs(24 * 3600));
//! let intents = IntentFolder::open("/var/lib/shop/intents").await?;
//!
//! // What this program wants to happen once, under a name that it knows again after a crash.
//! let intent = intents.intent("order-17");
//! let request = client
//!     .post("http://127.0.0.1:3000/bookings")
//!     .json(&json!({ "room": "12" }));
//! let response = client.send(&intent, request).await?;
//! println!("{}: {}", response.status(), response.json::<serde_json::Value>()?);
//!
//! // Only now, when the program has stored the response: a crash before this line asks again and gets the same response.
//! intent.finish().await?;
//! # Ok(())
//! # }
//! ```
//!
//! An [`Intent`] is one operation and its key. One from an [`IntentFolder`] is on disk before its first attempt is sent, and
//! so survives a crash of the client. [`Intent::new`] makes one that lives as long as the program, and
//! [`Intent::with_key`] takes a key that the application stores itself.
//!
//! # What is sent again
//!
//! | After | The client |
//! |---|---|
//! | no response: no connection, a timeout, a body that breaks off | tries again |
//! | 500 to 599 except 501 and 505; 408, 425 and 429; 409 `in-progress`; any other response from 400 on with `Retry-After` | tries again |
//! | every other response, and every one that the service has stored | returns the [`Response`] |
//! | any other refusal that is not stored, after an attempt that may have arrived | returns [`SendError::RetryRefused`] |
//! | 422 `key-reused` | returns [`SendError::KeyReused`] |
//! | 409 `outcome-unknown` | returns [`SendError::OutcomeUnknown`] |
//! | 409 `response-not-stored`, 410 `response-erased` | returns [`SendError::ResponseGone`]: the operation took effect |
//! | the last attempt, or the deadline | returns [`SendError::GaveUp`] |
//!
//! A response is stored if it has `Idempotent-Replayed` or `Idempotency-Expires`: a retry would get it again, whatever its
//! status. So a 4xx of the service itself is a [`Response`], too. What names such as `in-progress` mean is in the
//! [guide to clients](crate::guide::clients).
//!
//! A 3xx that is not stored is a refusal, except 303: a proxy may send a retry to its page for signing in.
//!
//! A retry never gets a new key. No error says that the operation did not happen: where one says that this call
//! sent nothing, an earlier one may have. After an error keep the intent, and send the same request under it later.
//!
//! # The life of an intent on disk
//!
//! | Step | A crash afterwards, or another process with the same id |
//! |---|---|
//! | begun: the key is on disk before the first attempt | sends the same request with this key |
//! | the response is here, and what it says of the key's end is on disk | sends it again, and gets the same response |
//! | [`finish`](Intent::finish), when the application has stored the response | sends nothing: [`SendError::Finished`] |
//! | [`remove_finished`](IntentFolder::remove_finished), or [`forget`](Intent::forget) at any time | begins a new operation |
//!
//! Each step is one rename, so it has happened or not. No step changes what another process has written: the end of a key and
//! the mark that it is finished are files of their own, about one key. So a future that is dropped, a late response and a process that
//! is slow cannot undo a step, and only the last line makes room for another key.
//! A disk that is full or read-only sends no new intent. One that is on disk is sent all the same.
//!
//! # Limits
//!
//! - The service must read `Idempotency-Key`; a service that ignores it may do everything twice.
//! - Send all attempts as the same caller, also after a crash. Another caller has keys of its own, so for the service the same
//!   request is a new one. A service that does not verify who is calling takes each token for another caller: there, send
//!   all attempts with one token.
//! - Problems are known by the field `Idempotency-Problem`, or by their `code` in `application/problem+json`. Where a proxy
//!   replaces both by a page of its own, only the status is known. A page with status 200 is taken for the response.
//! - A process that is stopped after it has looked at the time and before it sends can send a key that has expired meanwhile.
//! - A cookie store of reqwest can change the field `Cookie` from one attempt to the next. A service that knows its callers
//!   neither by a token nor by the name of a session cookie then takes the attempt for another request. Turn the store off, or set the field `Cookie` yourself.
//! - The key is sent in quotes, as the draft has it. For a service that compares the bytes of the field, it is another key than
//!   the same one without quotes.
//! - A service at another address is another service: the client refuses to send the intent there.
//! - The body of a request is in memory, and so is the response's, up to 16 MiB by default.
//! - TLS and its cryptography are features of reqwest, which the application turns on. Beside the feature `firestore` install
//!   a provider of rustls before you make a client.

mod age;
mod backoff;
mod disk;
mod error;
mod exchange;
mod folder_mark;
mod intent;
mod intent_file;
mod intent_folder;
mod intent_record;
mod moment;
mod redirects;
mod removal;
mod request;
mod response;
mod retry_after;
mod retrying_client;
mod verdict;

pub use error::GaveUp;
pub use error::IntentError;
pub use error::LastAttempt;
pub use error::SendError;
pub use intent::Intent;
pub use intent_folder::IntentFolder;
pub use response::Response;
pub use retrying_client::RetryingClient;
