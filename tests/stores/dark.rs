//! Connections that go dark: no reply arrives and nothing closes them, while the server accepts new ones.

use std::time::{Duration, SystemTime};

use idempotency::{
    Idempotency, IdempotencyKey, Options, Rejection, Run, RunError, Scope, Store,
    store::{Phase, RecordId},
};
use tokio::sync::oneshot;

use crate::{firestore::request, proxy::Proxy, within_a_minute};

const LEASE_SECONDS: u64 = 9;

/// A run whose connection goes dark continues past its lease, and stores its outcome although the connection goes dark
/// again. No second run begins meanwhile. `here` is behind the proxy, and `there` is not.
pub(crate) async fn a_run_goes_on(proxy: &Proxy, here: impl Store, there: impl Store) {
    let (here, there) = (Idempotency::new(here), Idempotency::new(there));
    let (scope, key) = (Scope::principal("ann"), key("one"));
    let options = Options::new().lease(Duration::from_secs(LEASE_SECONDS));
    let (running, runs) = oneshot::channel();
    let (finish, finished) = oneshot::channel::<()>();
    let first = tokio::spawn({
        let (here, scope, key) = (here.clone(), scope.clone(), key.clone());
        async move {
            let work = async move {
                running.send(()).expect("the test");
                finished.await.map_err(drop)?;
                Ok::<_, ()>("booked".to_owned())
            };
            let asked = request("book");
            here.run_with(&options, &scope, &key, asked, |_| work).await
        }
    });
    runs.await.expect("the first run");
    let id = there.record_id(&scope, &key);
    let leased = lease_until(&there, &id).await;
    proxy.silence();

    let again = async || {
        let work = async { Ok::<_, ()>("booked again".to_owned()) };
        let asked = request("book");
        there
            .run_with(&options, &scope, &key, asked, |_| work)
            .await
    };
    let past_the_lease = async {
        let renewed = leased + Duration::from_secs(LEASE_SECONDS);
        while lease_until(&there, &id).await < renewed {
            let duplicate = again().await;
            let refused = matches!(duplicate, Err(RunError::Rejected(Rejection::InProgress)));
            assert!(refused, "{duplicate:?}");
        }
    };
    within_a_minute("a renewal after the lease", past_the_lease).await;

    proxy.silence();
    finish.send(()).expect("the first run");
    let first = first.await.expect("the first run");
    assert!(
        matches!(&first, Ok(Run::Executed(value)) if value == "booked"),
        "{first:?}"
    );
    let replay = again().await;
    assert!(
        matches!(&replay, Ok(Run::Replayed(value)) if value == "booked"),
        "{replay:?}"
    );
}

/// At most this many of the requests during a dark connection are refused, and none runs twice.
pub(crate) async fn only_so_many_are_refused(most: usize, proxy: &Proxy, here: impl Store) {
    let here = Idempotency::new(here);
    let scope = Scope::principal("ann");
    let run = async |name: &str| {
        let work = async { Ok::<_, ()>("booked".to_owned()) };
        here.run(&scope, &key(name), request("book"), work).await
    };
    let before = run("before").await;
    assert!(matches!(before, Ok(Run::Executed(_))), "{before:?}");
    for name in ["one", "two"] {
        proxy.silence();
        let mut refused = 0;
        while let Err(error) = run(name).await {
            refused += 1;
            assert!(refused <= most, "{error:?}");
        }
        let again = run(name).await;
        assert!(matches!(again, Ok(Run::Replayed(_))), "{again:?}");
    }
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::new(name).expect("a key")
}

async fn lease_until(idempotency: &Idempotency, id: &RecordId) -> SystemTime {
    let found = idempotency.store().inspect(id).await;
    match found.expect("an inspection").map(|record| record.phase) {
        Some(Phase::InFlight { lease_until, .. }) => lease_until,
        other => panic!("a run that goes on, and not {other:?}"),
    }
}
