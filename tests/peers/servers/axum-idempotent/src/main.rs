//! The layer of `axum-idempotent` over the memory store of `ruts`, with keys from the header field, which a request may lack. It protects only requests of a
//! session, and `GET /login` begins one.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use bookings::{Counted, book, serve};
use ruts::{
    CookieOptions, Session, SessionLayer,
    store::{Ttl, moka::MokaStore},
};
use tower_cookies::CookieManagerLayer;

async fn login(session: Session<MokaStore>) {
    let ttl = Ttl::new(86_400).expect("it is positive");
    session
        .set("is_guest", &true, ttl, None)
        .await
        .expect("a session in memory");
}

#[tokio::main]
async fn main() {
    let counted = Counted::default();
    let options = IdempotentOptions::default()
        .use_idempotency_key_header(Some("Idempotency-Key"), false)
        .expire_after(86_400);
    let cookie = CookieOptions::build()
        .name("session")
        .path("/")
        .max_age(86_400)
        .secure(false);
    let sessions = SessionLayer::new(Arc::new(MokaStore::builder().build()));
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(counted.clone())
        .layer(IdempotentLayer::<MokaStore>::new(options))
        .route("/login", get(login))
        .layer(sessions.with_cookie_options(cookie))
        .layer(CookieManagerLayer::new());
    serve(router.merge(counted.effects())).await;
}
