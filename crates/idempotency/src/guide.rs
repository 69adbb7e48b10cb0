//! Guides: pages to read, without items of their own.
//!
//! Begin with [`stores`] and, where money moves, with [`transactions`].
//!
//! | Guide | Question |
//! |---|---|
//! | [`stores`] | Which store? What survives a crash, and what does a request cost? |
//! | [`transactions`] | How do rows, key and response become one commit, and what happens when something fails? |
//! | [`steps`] | How does a handler that calls a payment provider avoid a second charge? |
//! | [`clients`] | What does a client send, and what does it do with each status? |
//! | [`operators`] | How is a key looked up and resolved? What belongs in a backup, and in which order are processes upgraded? |
//! | [`testing`] | How are handlers tested, without sleeping? |
//! | [`security`] | Whose key is it, and what is written where? |
//! | [`faq`] | Why 409? Why 422? What about `GET`, batches and uploads? |
//! | [`comparison`] | What do other libraries do? |
//! | [`other_clients`] | How does a transaction of diesel, sea-orm, tokio-postgres or sqlx 0.8 carry the key? |
//! | [`webhooks`](crate::webhooks) | How does the delivery of a webhook run once? |
//! | [`dialects`](crate::dialects) | How does a service refuse as Stripe, or the protocols of agentic commerce, do? |
//! | [`custom_store`] | How is a store for another database written? |

#[doc = include_str!("docs/clients.md")]
pub mod clients {}

#[doc = include_str!("docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("docs/custom_store.md")]
pub mod custom_store {}

#[doc = include_str!("docs/faq.md")]
pub mod faq {}

#[doc = include_str!("docs/operators.md")]
pub mod operators {}

#[doc = include_str!("docs/other_clients.md")]
pub mod other_clients {}

#[doc = include_str!("docs/security.md")]
pub mod security {}

#[doc = include_str!("docs/steps.md")]
pub mod steps {}

#[doc = include_str!("docs/stores.md")]
pub mod stores {}

#[doc = include_str!("docs/testing.md")]
pub mod testing {}

#[doc = include_str!("docs/transactions.md")]
pub mod transactions {}
