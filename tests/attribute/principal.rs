//! Handlers whose callers an extractor authenticates.

#![deny(warnings)]
#![expect(
    unreachable_pub,
    unused_qualifications,
    reason = "handlers may be written like that"
)]

use axum::{
    Json, Router,
    extract::{FromRef, FromRequestParts, State},
    http::{StatusCode, request::Parts},
    routing::post,
};
use idempotency::{Principal, Scope, idempotent};

use crate::support::{protected, runs_once};

#[derive(Clone)]
struct Realm(&'static str);

#[derive(Clone)]
struct App {
    realm: Realm,
}

impl FromRef<App> for Realm {
    fn from_ref(app: &App) -> Self {
        app.realm.clone()
    }
}

/// It is not `Clone`, and its extractor uses a part of the state.
struct Claims<Role> {
    subject: String,
    role: Role,
}

#[derive(Default)]
struct Admin;

impl<S, Role> FromRequestParts<S> for Claims<Role>
where
    S: Send + Sync,
    Realm: FromRef<S>,
    Role: Default,
{
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let Realm(realm) = Realm::from_ref(state);
        Ok(Self {
            subject: format!("{realm}/ann"),
            role: Role::default(),
        })
    }
}

impl<Role: Send + 'static> Principal for Claims<Role> {
    fn scope(&self) -> Scope {
        Scope::principal(&self.subject)
    }
}

#[idempotent(principal = Claims<Admin>, ttl_seconds = 60)]
async fn first(claims: Claims<Admin>, Json(()): Json<()>) -> String {
    let Admin = claims.role;
    claims.subject
}

#[idempotent(required, principal = Claims<Admin>)]
async fn last(
    State(_): State<App>,
    Claims { subject, .. }: Claims<Admin>,
) -> impl axum::response::IntoResponse {
    (StatusCode::CREATED, subject)
}

#[idempotent(principal = Claims<Admin>)]
async fn unasked() {}

struct Transfers;

impl Transfers {
    #[idempotent(principal = self::Claims<Admin>, on_duplicate = "wait")]
    pub async fn transfer(claims: self::Claims<Admin>) -> String {
        claims.subject
    }
}

macro_rules! handler {
    ($name:ident, $principal:ty) => {
        #[idempotent(principal = $principal)]
        async fn $name(claims: $principal) -> String {
            claims.subject
        }
    };
}

handler!(from_a_macro, Claims<Admin>);

#[tokio::test]
async fn a_principal_is_proved_whether_the_handler_asks_for_it_or_not() {
    let app = protected(
        Router::new()
            .route("/first", post(first))
            .route("/last", post(last))
            .route("/unasked", post(unasked))
            .route("/transfer", post(Transfers::transfer))
            .route("/from-a-macro", post(from_a_macro))
            .with_state(App { realm: Realm("eu") }),
    );
    for path in ["/last", "/transfer", "/from-a-macro"] {
        assert_eq!(runs_once(&app, path).await, "eu/ann");
    }
    assert_eq!(runs_once(&app, "/unasked").await, "");

    // A unit test calls the function with a value that it has made.
    let claims = Claims {
        subject: "bob".to_owned(),
        role: Admin,
    };
    assert_eq!(first(claims, Json(())).await, "bob");
}
