//! What stores say of servers on which something would go wrong.

use idempotency::{
    FirestoreStore, Idempotency, PostgresStore, RedisStore, Store,
    store::{Verdict, Verification},
};
use sqlx::postgres::PgPoolOptions;
use tests::servers::{firestore::FirestoreEmulator, postgres::PostgresServer, redis::RedisServer};

/// The verdict of this check, and what was found.
fn of<'v>(verification: &'v Verification, check: &str) -> Option<(Verdict, &'v str)> {
    let found = verification
        .findings
        .iter()
        .find(|finding| finding.check == check);
    found.map(|finding| (finding.verdict, finding.found.as_str()))
}

#[track_caller]
fn is(verification: &Verification, check: &str, verdict: Verdict, found: &str) {
    let of = of(verification, check);
    assert!(
        of.is_some_and(|of| of.0 == verdict && of.1.contains(found)),
        "{check} should be {verdict}: {found}, and not {of:?}"
    );
}

// proves: store-says-what-is-wrong
#[tokio::test]
async fn a_redis_that_evicts_and_forgets_is_told_from_one_that_does_not() {
    let durable = ["--appendonly", "yes", "--maxmemory-policy", "noeviction"];
    let careless = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let (Some(durable), Some(careless)) =
        (RedisServer::start(&durable), RedisServer::start(&careless))
    else {
        return;
    };
    let store = RedisStore::connect(&durable.url()).await.expect("a store");
    let verification = Idempotency::new(store).verify().await;
    assert_eq!(verification.verdict(), Verdict::Ok, "{verification:?}");
    for check in [
        "reachable",
        "version",
        "role",
        "eviction",
        "persistence",
        "rights",
        "clock",
        "writable",
    ] {
        assert!(
            of(&verification, check).is_some(),
            "{check}: {verification:?}"
        );
    }

    let store = RedisStore::connect(&careless.url()).await.expect("a store");
    let verification = store.verify().await;
    is(&verification, "eviction", Verdict::Warning, "allkeys-lru");
    is(
        &verification,
        "persistence",
        Verdict::Warning,
        "appendonly is off",
    );
    assert_eq!(verification.verdict(), Verdict::Warning, "{verification:?}");

    careless.stop();
    let verification = store.verify().await;
    is(&verification, "reachable", Verdict::Problem, "");
    is(&verification, "writable", Verdict::Problem, "");
}

// proves: store-says-what-is-wrong
#[tokio::test]
async fn a_redis_that_becomes_a_replica_or_takes_a_right_away_says_so() {
    let (Some(primary), Some(server)) = (RedisServer::start(&[]), RedisServer::start(&[])) else {
        return;
    };
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    let mut connection = server.connection();
    let acl = |right: &str| {
        let mut acl = redis::cmd("ACL");
        acl.arg(["SETUSER", "default", right].as_slice());
        acl
    };
    let set: String = acl("-pexpireat").query(&mut connection).expect("the user");
    assert_eq!(set, "OK");
    is(
        &store.verify().await,
        "rights",
        Verdict::Problem,
        "PEXPIREAT",
    );
    let set: String = acl("+pexpireat").query(&mut connection).expect("the user");
    assert_eq!(set, "OK");
    is(&store.verify().await, "rights", Verdict::Ok, "");

    let port = primary.address().port().to_string();
    let done: String = redis::cmd("REPLICAOF")
        .arg(["127.0.0.1", &port].as_slice())
        .query(&mut connection)
        .expect("the change");
    assert_eq!(done, "OK");
    let verification = store.verify().await;
    is(&verification, "role", Verdict::Problem, "replica");
    is(&verification, "writable", Verdict::Problem, "");
}

async fn execute(url: &str, statement: &'static str) {
    let pool = PgPoolOptions::new().connect(url).await.expect("a database");
    sqlx::raw_sql(statement)
        .execute(&pool)
        .await
        .expect("the statement");
    pool.close().await;
}

// proves: store-says-what-is-wrong
#[tokio::test]
async fn a_postgres_names_its_schema_and_settings() {
    let Some(server) = PostgresServer::shared() else {
        return;
    };
    let url = server.database().await;
    let pool = PgPoolOptions::new().connect_lazy(&url).expect("a URL");
    let store = PostgresStore::new(pool);
    is(
        &store.verify().await,
        "schema",
        Verdict::Problem,
        "not in the role's search path",
    );

    store.create_schema().await.expect("the tables");
    let verification = store.verify().await;
    for check in [
        "reachable",
        "version",
        "role",
        "schema",
        "rights",
        "clock",
        "autovacuum",
        "writable",
    ] {
        assert!(
            of(&verification, check).is_some(),
            "{check}: {verification:?}"
        );
    }
    assert_ne!(verification.verdict(), Verdict::Problem, "{verification:?}");

    execute(&url, "alter table idempotency_records drop column spent").await;
    is(
        &store.verify().await,
        "schema",
        Verdict::Problem,
        "columns are missing",
    );
    store.create_schema().await.expect("the columns");
    is(&store.verify().await, "schema", Verdict::Ok, "version 1");

    execute(&url, "update idempotency_schema set version = 2").await;
    is(
        &store.verify().await,
        "schema",
        Verdict::Problem,
        "version 2",
    );
}

// proves: store-says-what-is-wrong, read-only-store-refused
#[tokio::test]
async fn a_standby_and_a_careless_commit_are_found() {
    let Some(primary) = PostgresServer::start() else {
        return;
    };
    let url = primary.database().await;
    PostgresStore::connect(&url).await.expect("a store");
    let standby = primary.standby();
    standby.connect().await;
    let pool = PgPoolOptions::new()
        .connect_lazy(&standby.url(&url))
        .expect("a URL");
    let verification = PostgresStore::new(pool).verify().await;
    is(&verification, "role", Verdict::Problem, "read replica");
    is(&verification, "writable", Verdict::Problem, "");

    let options = url
        .parse::<sqlx::postgres::PgConnectOptions>()
        .expect("a URL");
    let options = options.options([("synchronous_commit", "off")]);
    let store = PostgresStore::new(PgPoolOptions::new().connect_lazy_with(options));
    let (verdict, found) = of(&store.verify().await, "durability")
        .map(|of| (of.0, of.1.to_owned()))
        .expect("it");
    assert_eq!(verdict, Verdict::Warning, "{found}");

    primary.stop();
    is(&store.verify().await, "reachable", Verdict::Problem, "");
}

// proves: store-says-what-is-wrong
#[tokio::test]
async fn an_emulator_is_not_taken_for_firestore() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = FirestoreStore::connect_to_emulator("verified", &emulator.address()).await;
    let verification = store.expect("a store").verify().await;
    is(&verification, "durability", Verdict::Warning, "emulator");
    is(&verification, "reachable", Verdict::Ok, "");
    is(&verification, "sweep", Verdict::Ok, "");
    assert_eq!(verification.verdict(), Verdict::Warning, "{verification:?}");
}
