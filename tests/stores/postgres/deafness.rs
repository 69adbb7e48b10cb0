//! A server that stops responding for a while, in different ways.

use futures_util::future::join_all;
use reqwest::Method;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tests::{proxy::Proxy, reply::Reply, servers::postgres::PostgresServer};

use super::behind_a_proxy;
use crate::{service::Service, within_a_minute};

#[derive(Clone, Copy, Debug)]
enum Deaf {
    /// It does not respond to statements about keys, whose table is locked.
    ToKeys,
    /// The same for the bookings.
    ToBookings,
    /// It does not respond at all, as when its machine has stopped.
    Stopped,
    /// It does not respond on existing connections.
    Dark,
}

/// A server, and a guard that keeps it deaf.
struct Silence<'a> {
    way: Deaf,
    server: &'a PostgresServer,
    session: Option<PgConnection>,
}

impl<'a> Silence<'a> {
    async fn fall(way: Deaf, server: &'a PostgresServer, url: &str, proxy: &Proxy) -> Self {
        let table = match way {
            Deaf::ToKeys => Some("idempotency_records"),
            Deaf::ToBookings => Some("bookings"),
            Deaf::Stopped => {
                server.signal("STOP");
                None
            }
            Deaf::Dark => {
                proxy.silence();
                None
            }
        };
        let mut session = None;
        if let Some(table) = table {
            let mut locking = PgConnection::connect(url).await.expect("a connection");
            let lock = format!("begin; lock table {table} in access exclusive mode");
            let locked = raw_sql(AssertSqlSafe(lock)).execute(&mut locking).await;
            locked.expect("a lock");
            session = Some(locking);
        }
        Self {
            way,
            server,
            session,
        }
    }

    async fn end(self) {
        if let Some(session) = self.session {
            session.close().await.expect("an end");
        }
        if matches!(self.way, Deaf::Stopped) {
            self.server.signal("CONT");
        }
    }
}

/// New keys, a retry, a list and a readiness check: a request without a true response is refused
/// while it is deaf. Afterwards each key is carried out once.
// proves: store-down-nothing-runs, deaf-store-left-quickly, one-key-takes-pool
// proves: dead-connection-outlives-lease
#[rstest::rstest]
#[case::keys_locked(Deaf::ToKeys, [503, 503, 200, 503])]
#[case::bookings_locked(Deaf::ToBookings, [503, 201, 503, 503])]
#[case::stopped(Deaf::Stopped, [503; 4])]
#[case::dark(Deaf::Dark, [0; 4])]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deaf_server_refuses_every_request_and_is_used_again_by_itself(
    #[case] way: Deaf,
    #[case] expected: [u16; 4],
) {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let url = server.database().await;
    let (proxy, behind) = behind_a_proxy(&url).await;
    let service = Service::start(&["--database", &behind]);
    let first = Reply::to(service.booking("before")).await;
    assert_eq!(first.status, 201, "{first:?}");

    let silence = Silence::fall(way, &server, &url, &proxy).await;
    let new = ["one", "two", "three"];
    let asked = async {
        tokio::join!(
            join_all(new.map(|key| Reply::to(service.booking(key)))),
            Reply::to(service.booking("before")),
            Reply::to(service.request(Method::GET, "/bookings")),
            Reply::to(service.request(Method::GET, "/readyz")),
        )
    };
    let (booked, retry, list, ready) = within_a_minute("a response", asked).await;
    for (response, expected) in booked.iter().map(|it| (it, expected[0])).chain([
        (&retry, expected[1]),
        (&list, expected[2]),
        (&ready, expected[3]),
    ]) {
        match expected {
            // On a new connection it is served.
            0 => assert!(
                [200, 201, 503].contains(&response.status.as_u16()),
                "{response:?}"
            ),
            _ => assert_eq!(response.status, expected, "{response:?}"),
        }
    }
    silence.end().await;

    let served = async {
        for key in new {
            while Reply::to(service.booking(key)).await.status != 201 {}
        }
        while Reply::to(service.request(Method::GET, "/readyz"))
            .await
            .status
            != 200
        {}
        loop {
            let replay = Reply::to(service.booking("before")).await;
            if replay.status == 201 {
                return replay;
            }
        }
    };
    let replay = within_a_minute("a service that works", served).await;
    assert_eq!((replay.is_replay(), &replay.body), (true, &first.body));
    assert_eq!(service.bookings().await, 1 + new.len());
}
