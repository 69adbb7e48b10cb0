//! `PostgresStore` on servers that the tests start, directly and through PgBouncer.

use std::sync::{Arc, OnceLock};

use idempotency::PostgresStore;
use tests::servers::{
    pgbouncer::PgBouncer,
    postgres::{PostgresServer, advance, make_clock_movable},
};

use crate::contract::{Opened, the_store_keeps_the_contract};

mod direct {
    super::the_store_keeps_the_contract!(super::open);
}

mod through_pgbouncer {
    super::the_store_keeps_the_contract!(super::open_through_pgbouncer);
}

/// A store without records on the server that all tests share.
pub(crate) async fn open() -> Option<Opened> {
    let url = database().await?;
    Some(opened(&url, url.clone()).await)
}

/// The same, with a pooler in between.
async fn open_through_pgbouncer() -> Option<Opened> {
    let url = database().await?;
    let pooled = pooler()?.url(&url);
    Some(opened(&pooled, url).await)
}

async fn opened(url: &str, direct: String) -> Opened {
    let store = PostgresStore::connect(url).await.expect("a store");
    Opened {
        store: Arc::new(store),
        advance: Box::new(move |time| advance(&direct, time)),
    }
}

/// A database whose clock can be moved.
async fn database() -> Option<String> {
    let url = PostgresServer::shared()?.database().await;
    make_clock_movable(&url).await;
    Some(url)
}

/// The pooler that all tests share.
fn pooler() -> Option<&'static PgBouncer> {
    static SHARED: OnceLock<Option<PgBouncer>> = OnceLock::new();
    SHARED
        .get_or_init(|| PgBouncer::start(PostgresServer::shared()?))
        .as_ref()
}
