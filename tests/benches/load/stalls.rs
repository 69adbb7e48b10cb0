//! How long requests wait while very many keys expire at once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use idempotency::{Clock, Fingerprint, Idempotency, MemoryStore, Store};
use tokio::runtime::Handle;

use crate::{
    Effort,
    bookings::Bookings,
    client::{Client, Load, Until},
    report,
    server::{self, Server},
    service::{self, PROTECTED},
    size,
};

pub(crate) async fn measure(effort: Effort) {
    let (keys, time, rounds) = if effort.quick {
        ("20000", Duration::from_millis(500), 1)
    } else {
        ("500000", Duration::from_secs(4), 3)
    };
    report::title(&format!(
        "Memory store, {keys} keys expire at once: one client's requests, one after the other, for {time:?} each"
    ));
    let mut longest = [const { Vec::new() }; 2];
    let mut slow = [const { Vec::new() }; 2];
    let mut left = Vec::new();
    let load = Load::fresh(PROTECTED);
    for _ in 0..rounds {
        let mut server = Server::start(&["stalls", keys]);
        let mut client = Client::connect(server.address(), 1).await;
        client.send(&load, Until::Passed(time / 4)).await;
        for (phase, (longest, slow)) in longest.iter_mut().zip(&mut slow).enumerate() {
            if phase == 1 {
                server.say("expire");
            }
            let mut latencies = client.send(&load, Until::Passed(time)).await.latencies;
            latencies.sort_unstable();
            let thousandth = latencies.len() / 1000;
            longest.push(report::milliseconds(latencies[latencies.len() - 1]));
            slow.push(report::milliseconds(
                latencies[latencies.len() - 1 - thousandth],
            ));
        }
        server.say("count");
        left.push(server.line().parse().expect("a number"));
    }
    let ([quiet, expiring], [quiet_slow, expiring_slow]) = (longest, slow);
    report::line("expired keys still there at the end", left, "");
    report::line("longest, while they expire", expiring, " ms");
    report::line("longest, while nothing expires", quiet, " ms");
    report::line("p99.9, while they expire", expiring_slow, " ms");
    report::line("p99.9, while nothing expires", quiet_slow, " ms");
}

pub(crate) fn serve(keys: usize) {
    let runtime = server::runtime(2);
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let fingerprint = Fingerprint::of([b"the same for all".as_slice()]);
    let filled = {
        let store = store.clone();
        // On a worker, like requests: allocators keep the memory of threads apart.
        runtime.spawn(async move {
            for _ in 0..keys {
                let outcome = Bytes::from(vec![b'a'; 300]);
                size::complete(&store, &size::hold(), &fingerprint, outcome).await;
            }
        })
    };
    runtime.block_on(filled).expect("a full store");
    let idempotency = Idempotency::builder(Arc::new(store.clone()))
        .with_sweep_every(Duration::from_millis(100))
        .build();
    let handle: Handle = runtime.handle().clone();
    let router = service::router(Bookings::Memory(<_>::default()), idempotency);
    server::serve(&runtime, router, move |line| match line {
        "expire" => clock.advance(Duration::from_secs(3600)),
        _ => {
            let left = handle.block_on(store.purge_expired(usize::MAX));
            println!("{}", left.expect("a number of records"));
        }
    });
}
