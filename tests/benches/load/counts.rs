//! Counts, instead of times: how often something happens for a request.

use crate::{
    client::{Client, Load, Until},
    report,
    service::{BARE, PROTECTED, TRANSACTIONAL},
    wire::Wire,
};

/// Enough for all that happens once: connections, statements to prepare, scripts to load.
const FIRST: usize = 100;
const COUNTED: usize = 100;

/// How often it happens for one of these requests.
pub(crate) async fn each(client: &mut Client, load: &Load, count: impl AsyncFn() -> u64) -> f64 {
    client.send(load, Until::Requests(FIRST)).await;
    let before = count().await;
    let responses = client.send(load, Until::Requests(COUNTED)).await.responses;
    (count().await - before) as f64 / responses as f64
}

/// Shows the round trips of first executions, without those of the booking itself, and of replays.
pub(crate) async fn report_trips(client: &mut Client, wire: &Wire, paths: &[&'static str]) {
    let trips = async || wire.trips();
    let bare = each(client, &Load::without_keys(BARE), trips).await;
    for &path in paths {
        let mode = mode(path);
        let first = each(client, &Load::fresh(path), trips).await - bare;
        report::line(
            &format!("{mode}: round trips of a first execution"),
            vec![first],
            "",
        );
        let replays = client.replays(path, COUNTED).await;
        let replay = each(client, &replays, trips).await;
        report::line(
            &format!("{mode}: round trips of a replay"),
            vec![replay],
            "",
        );
    }
    report::line("without keys: round trips of a booking", vec![bare], "");
}

/// Shows the commits of a booking in each mode.
pub(crate) async fn report_commits(
    client: &mut Client,
    when: &str,
    commits: impl AsyncFn() -> u64,
) {
    for path in [PROTECTED, TRANSACTIONAL, BARE] {
        let count = each(client, &load(path), &commits).await;
        let name = format!("{}: commits of a booking, {when}", mode(path));
        report::line(&name, vec![count], "");
    }
}

fn load(path: &'static str) -> Load {
    match path {
        BARE => Load::without_keys(path),
        _ => Load::fresh(path),
    }
}

fn mode(path: &str) -> &'static str {
    match path {
        PROTECTED => "leased",
        TRANSACTIONAL => "transactional",
        _ => "without keys",
    }
}
