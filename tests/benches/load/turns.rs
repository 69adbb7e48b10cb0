//! Several loads on one service, in turns: both sides of a ratio had the same machine at the same time.

use crate::{
    client::{Client, Load, Until},
    report,
    server::Server,
};

/// The results of one load's rounds.
#[derive(Default)]
pub(crate) struct Measured {
    /// Responses a second.
    pub(crate) rates: Vec<f64>,
    /// Microseconds of the service's CPU for each response.
    pub(crate) costs: Vec<f64>,
}

/// Sends each load until then, for this many rounds after one that warms up.
pub(crate) async fn measure<const LOADS: usize>(
    server: &Server,
    client: &mut Client,
    loads: &[Load; LOADS],
    until: Until,
    rounds: usize,
) -> [Measured; LOADS] {
    let mut all: [Measured; LOADS] = std::array::from_fn(|_| Measured::default());
    for round in 0..=rounds {
        for (load, measured) in loads.iter().zip(&mut all) {
            let before = server.cpu();
            let sent = client.send(load, until).await;
            let used = server.cpu() - before;
            if round > 0 {
                let responses = sent.responses as f64;
                measured.rates.push(responses / sent.took.as_secs_f64());
                measured.costs.push(report::microseconds(used) / responses);
            }
        }
    }
    all
}

impl Measured {
    /// Shows both as ratios to those of the service without keys.
    pub(crate) fn report(&self, mode: &str, what: &str, bare: &Self) {
        report::ratios(
            &format!("{mode}: {what}s a second"),
            &self.rates,
            &bare.rates,
        );
        report::ratios(
            &format!("{mode}: server CPU of a {what}"),
            &self.costs,
            &bare.costs,
        );
    }

    /// Shows both as they are.
    pub(crate) fn report_bare(self) {
        report::line("without keys: bookings a second", self.rates, "");
        report::line("without keys: server CPU of a booking", self.costs, " µs");
    }
}
