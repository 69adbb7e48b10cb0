//! What `RedisStore::connect` refuses, because steps would fail there.

use bytes::Bytes;
use idempotency::{RedisStore, Store, log_text::Causes, store::RedisStoreError};
use tests::servers::redis::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::new_hold;

/// As in the store's documentation.
const RIGHTS: [&str; 10] = [
    "+eval",
    "+evalsha",
    "+get",
    "+set",
    "+pexpireat",
    "+time",
    "+publish",
    "+subscribe",
    "+unsubscribe",
    "+info",
];

// proves: deaf-store-left-quickly
#[tokio::test]
async fn a_user_who_lacks_a_right_is_refused_at_the_start() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    each_right_is_asked_for(&server).await;
}

/// A user with all rights is accepted. A user without one of the rights that every store needs is not.
pub(crate) async fn each_right_is_asked_for(server: &RedisServer) {
    connect_with(server, &RIGHTS).await.expect("a store");
    for missing in RIGHTS {
        let rights: Vec<&str> = RIGHTS
            .into_iter()
            .filter(|right| *right != missing)
            .collect();
        let connected = connect_with(server, &rights).await;
        let optional = ["+publish", "+subscribe", "+unsubscribe", "+info"];
        match connected {
            Ok(_) => assert!(optional.contains(&missing), "{missing} is needed"),
            Err(RedisStoreError::Right(command)) => {
                assert_eq!(format!("+{}", command.to_lowercase()), missing);
            }
            Err(error) => panic!("{missing}: {error:?}"),
        }
    }
}

async fn connect_with(
    server: &RedisServer,
    rights: &[&str],
) -> Result<RedisStore, RedisStoreError> {
    let set: String = redis::cmd("ACL")
        .arg("SETUSER")
        .arg(
            [
                "bookings",
                "reset",
                "on",
                ">pass",
                "resetchannels",
                "~bookings:*",
                "&bookings:*",
            ]
            .as_slice(),
        )
        .arg(rights)
        .query(&mut server.connection())
        .expect("the user");
    assert_eq!(set, "OK");
    let url = server.url().replace("redis://", "redis://bookings:pass@");
    let store = RedisStore::connect(&url).await?.with_prefix("bookings:");
    let hold = new_hold();
    let fingerprint = idempotency::Fingerprint::of([b"book".as_slice()]);
    let claim = crate::claim(&store, &hold, &fingerprint).await;
    assert_eq!(claim.ok(), Some(crate::won(1)));
    Ok(store)
}

// proves: read-only-store-refused
#[tokio::test]
async fn a_replica_is_refused_at_the_start() {
    let (Some(primary), Some(replica)) = (RedisServer::start(&[]), RedisServer::start(&[])) else {
        return;
    };
    let port = primary.address().port().to_string();
    let done: String = redis::cmd("REPLICAOF")
        .arg(["127.0.0.1", &port].as_slice())
        .query(&mut replica.connection())
        .expect("the change");
    assert_eq!(done, "OK");
    let refused = RedisStore::connect(&replica.url()).await;
    assert!(
        matches!(refused, Err(RedisStoreError::Replica)),
        "{refused:?}"
    );
    // Even if the user may not ask the server for its version.
    let set: String = redis::cmd("ACL")
        .arg(["SETUSER", "default", "-info"].as_slice())
        .query(&mut replica.connection())
        .expect("the user");
    assert_eq!(set, "OK");
    let refused = RedisStore::connect(&replica.url()).await;
    assert!(
        matches!(refused, Err(RedisStoreError::Replica)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_node_of_a_cluster_and_a_single_server_name_each_other_s_constructor() {
    let (Some(nodes), Some(single)) = (RedisServer::shared_cluster(), RedisServer::shared()) else {
        return;
    };
    let refused = RedisStore::connect(&nodes[0].url())
        .await
        .expect_err("a node");
    assert!(
        matches!(refused, RedisStoreError::NodeOfCluster),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("RedisStore::cluster"));
    let refused = RedisStore::cluster([single.url()])
        .await
        .expect_err("no cluster");
    assert!(
        matches!(refused, RedisStoreError::NotACluster),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("RedisStore::connect"));
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the store");
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
            // Each command begins with the number of its words.
            for command in asked.split('*').skip(1) {
                let info = "redis_version:6.0.20\r\nrole:master\r\n";
                let reply = if command.contains("INFO\r\n") && !command.contains("SETINFO") {
                    format!("${}\r\n{info}\r\n", info.len())
                } else {
                    "+OK\r\n".to_owned()
                };
                stream.write_all(reply.as_bytes()).await.expect("the store");
            }
        }
    });
    let refused = RedisStore::connect(&url).await.expect_err("an old server");
    assert!(
        matches!(&refused, RedisStoreError::Version(version) if &**version == "6.0.20"),
        "{refused:?}"
    );
}

/// A proxy that repeats in its error what it receives, as Redis does with an unknown command. It accepts the store's first
/// commands if it is told to.
async fn start_repeating(takes_a_store: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    for command in asked.split('*').skip(1) {
                        let words = command.replace("\r\n", " ");
                        let info = "redis_version:7.2.0\r\nrole:master\r\n";
                        let reply = match takes_a_store {
                            true if words.contains(" EVAL ") => "*0\r\n".to_owned(),
                            true if words.contains(&"0".repeat(40)) => {
                                "-NOSCRIPT no\r\n".to_owned()
                            }
                            true if words.contains("CLIENT") => "+OK\r\n".to_owned(),
                            true if words.contains(" INFO ") => {
                                format!("${}\r\n{info}\r\n", info.len())
                            }
                            _ => format!(
                                "-ERR unknown command 'X', with args beginning with: {words}\r\n"
                            ),
                        };
                        let sent = stream.write_all(reply.as_bytes()).await;
                        sent.expect("the store listens");
                    }
                }
            });
        }
    });
    address.to_string()
}

// proves: deaf-store-left-quickly
#[tokio::test]
async fn an_error_does_not_repeat_what_was_sent() {
    let address = start_repeating(false).await;
    let refused = RedisStore::connect(&format!("redis://ann:nobody-may-see@{address}")).await;
    let text = Causes(&refused.expect_err("it takes no password")).to_string();
    assert!(!text.contains("nobody"), "{text}");

    let address = start_repeating(true).await;
    let store = RedisStore::connect(&format!("redis://{address}")).await;
    let store = store.expect("a store");
    let outcome = Bytes::from_static(b"nobody-may-see");
    let refused = store.complete(&new_hold(), outcome).await;
    let text = Causes(&refused.expect_err("it takes no script")).to_string();
    assert!(text.contains("unknown command"), "{text}");
    assert!(!text.contains("nobody"), "{text}");
}
