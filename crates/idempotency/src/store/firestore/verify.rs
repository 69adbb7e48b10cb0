//! What would go wrong in this database.

use std::time::SystemTime;

use super::{
    client::{Client, Failure},
    query,
};
use crate::{log_text::Causes, store::Verification};

/// Adds what one read and one query show. Nothing is written.
pub(super) async fn check(client: &Client, verification: &mut Verification) {
    let before = SystemTime::now();
    match client.get(client.name("0")).await {
        Ok((_, stores)) => {
            verification.ok("reachable", "Firestore responded");
            verification.clock(before, stores, SystemTime::now());
        }
        Err(failure) => {
            verification.problem(
                "reachable",
                Causes(&failure.into_status()).to_string(),
                "check the project, the network, and that the credentials have the role roles/datastore.user",
            );
            return;
        }
    }
    if client.is_emulator() {
        verification.warning(
            "durability",
            "this is an emulator: it keeps documents in memory",
            "unset FIRESTORE_EMULATOR_HOST in production",
        );
    } else {
        verification.ok("durability", "Firestore commits before it responds");
    }
    match client.query(query::deletable(client.clock.now(), 1)).await {
        Ok(_) => verification.ok("sweep", "expired documents are found by an index"),
        Err(Failure::Conflict(_)) => verification.warning(
            "sweep",
            "there is no index on expires_at, so this program removes no expired documents",
            "make sure that Firestore does: gcloud firestore fields ttls update expires_at \
             --collection-group=idempotency_records --enable-ttl",
        ),
        Err(failure) => verification.problem(
            "sweep",
            Causes(&failure.into_status()).to_string(),
            "give the credentials the role roles/datastore.user, which may query",
        ),
    }
}
