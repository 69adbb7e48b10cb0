//! Responses that a function rebuilds from a stored value.

#![deny(warnings)]

mod failures;
mod forms;
mod mistakes;
mod runs;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, request::Parts},
};
use idempotency::{
    Idempotency, Principal, ReplayWith, Scope,
    store::{ListRequest, Phase},
};
use parking_lot::Mutex;

const SECRET: &str = "a secret that is shown once";

/// The service's state: its tokens, and who may ask for them.
#[derive(Clone)]
struct App {
    tokens: Tokens,
    idempotency: Idempotency,
}

/// Mints tokens, and knows their names afterwards.
#[derive(Clone, Default)]
struct Tokens(Arc<Inner>);

#[derive(Default)]
struct Inner {
    minted: AtomicUsize,
    proved: AtomicUsize,
    rebuilt: AtomicUsize,
    name: Mutex<&'static str>,
}

type Minted = (
    StatusCode,
    ReplayWith<Id>,
    [(&'static str, &'static str); 2],
    &'static str,
);

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Id {
    number: usize,
}

impl Tokens {
    fn named(name: &'static str) -> Self {
        let tokens = Self::default();
        *tokens.0.name.lock() = name;
        tokens
    }

    fn mint(&self) -> Minted {
        let number = self.0.minted.fetch_add(1, Ordering::SeqCst) + 1;
        (
            StatusCode::CREATED,
            ReplayWith(Id { number }),
            [("location", "/tokens/1"), ("x-token", SECRET)],
            SECRET,
        )
    }

    /// What a retry gets.
    fn show(&self, Id { number }: &Id) -> String {
        self.0.rebuilt.fetch_add(1, Ordering::SeqCst);
        format!("token {number} of {}", self.0.name.lock())
    }

    fn rename(&self, name: &'static str) {
        *self.0.name.lock() = name;
    }

    /// How many were minted, and how often a response was rebuilt.
    fn counts(&self) -> (usize, usize) {
        (
            self.0.minted.load(Ordering::SeqCst),
            self.0.rebuilt.load(Ordering::SeqCst),
        )
    }
}

impl FromRef<App> for Tokens {
    fn from_ref(app: &App) -> Self {
        app.tokens.clone()
    }
}

impl FromRef<App> for Idempotency {
    fn from_ref(app: &App) -> Self {
        app.idempotency.clone()
    }
}

/// A caller, whose extractor needs the state and counts how often it runs.
struct Claims(&'static str);

impl<S> FromRequestParts<S> for Claims
where
    S: Sync,
    Tokens: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let Tokens(tokens) = Tokens::from_ref(state);
        tokens.proved.fetch_add(1, Ordering::SeqCst);
        match parts.headers.get("authorization") {
            Some(_) => Err(StatusCode::UNAUTHORIZED),
            None => Ok(Self("ann")),
        }
    }
}

impl Principal for Claims {
    fn scope(&self) -> Scope {
        Scope::principal(self.0)
    }
}

/// The bytes of every outcome in the store.
async fn outcomes(idempotency: &Idempotency) -> Vec<Vec<u8>> {
    let listed = idempotency.store().list(&ListRequest::new(100)).await;
    let listed = listed.expect("a list").into_iter();
    let records = listed.map(|listed| listed.record.expect("a readable record"));
    let outcomes = records.map(|record| match record.phase {
        Phase::Completed { outcome } => outcome.to_vec(),
        other => panic!("not completed: {other:?}"),
    });
    outcomes.collect()
}

/// What an outcome begins with that is a value: version 1, kind 4.
const VALUE: [u8; 2] = [1, 4];
