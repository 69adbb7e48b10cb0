//! What protection costs, as ratios of neighbouring slices.

use crate::{
    load::{Kind, Slice, load, prepare},
    peer::Peer,
    server::Server,
};

/// For each kind of request, what it costs in CPU time of the server, and at what rate it is served.
pub(crate) struct Costs {
    pub(crate) cpu: [Ratio; 3],
    pub(crate) rate: [Ratio; 3],
}

/// To the framework alone, over all rounds.
#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    /// Below it are a tenth of the rounds.
    pub(crate) low: f64,
    /// Above it are a tenth of the rounds.
    pub(crate) high: f64,
}

/// The kinds of requests, in the order of the arrays above.
pub(crate) const KINDS: [&str; 3] = ["without a key", "first execution", "replay"];

pub(crate) const ROUNDS: u64 = 15;

/// Both servers are alive all the time, and only one has requests.
///
/// # Errors
///
/// If one of them fails a request.
pub(crate) async fn measure(
    peer: &Peer,
    plain: &Server,
    protected: &Server,
) -> Result<Costs, String> {
    prepare(protected).await?;
    // The first requests of a process are slower than all others.
    load(plain, Kind::Unprotected, peer.slice).await?;
    load(protected, Kind::First { group: 0 }, peer.slice).await?;
    let (mut cpu, mut rate): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    for round in 0..ROUNDS {
        let group = round + 1;
        let kinds = [Kind::Unprotected, Kind::First { group }, Kind::Replay];
        for (index, kind) in kinds.into_iter().enumerate() {
            let Slice {
                cpu: plain_cpu,
                wall: plain_wall,
            } = load(plain, Kind::Unprotected, peer.slice).await?;
            let slice = load(protected, kind, peer.slice).await?;
            cpu[index].push(slice.cpu.div_duration_f64(plain_cpu));
            rate[index].push(plain_wall.div_duration_f64(slice.wall));
        }
    }
    Ok(Costs {
        cpu: cpu.map(ratio),
        rate: rate.map(ratio),
    })
}

fn ratio(mut rounds: Vec<f64>) -> Ratio {
    rounds.sort_by(f64::total_cmp);
    let tenth = rounds.len() / 10;
    Ratio {
        median: rounds[rounds.len() / 2],
        low: rounds[tenth],
        high: rounds[rounds.len() - 1 - tenth],
    }
}
