//! What a request allocates in the server, hyper and axum included: `cargo bench -p tests --bench allocations`.
//!
//! Counts do not depend on the machine. glibc's allocator takes a slower path for blocks above 1,032 bytes, so these are counted apart,
//! and the largest ones are listed: most are futures in boxes.

#[path = "../load/plain.rs"]
mod plain;
#[path = "../load/request.rs"]
mod request;

use std::{
    alloc::System,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use tokio::{net::TcpListener, runtime::Builder};
use tracking_allocator::{AllocationGroupId, AllocationRegistry, AllocationTracker, Allocator};
use uuid::Uuid;

use plain::{ATTRIBUTE, LAYER, PLAIN};
use request::Request;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// How many blocks of each size, the last place for all that are longer.
static BLOCKS: [AtomicU64; LONGEST + 1] = [const { AtomicU64::new(0) }; LONGEST + 1];
const LONGEST: usize = 16 * 1024;

/// The longest block for which glibc keeps a cache for each thread.
const FAST: usize = 1032;

/// The shortest block that is listed.
const LISTED: usize = 384;

const REQUESTS: u64 = 1000;

struct Counted;

impl AllocationTracker for Counted {
    fn allocated(&self, _: usize, size: usize, _: usize, _: AllocationGroupId) {
        BLOCKS[size.min(LONGEST)].fetch_add(1, Relaxed);
    }

    fn deallocated(
        &self,
        _: usize,
        _: usize,
        _: usize,
        _: AllocationGroupId,
        _: AllocationGroupId,
    ) {
    }
}

/// What the requests of one kind have as a key.
#[derive(Clone, Copy)]
enum Key {
    None,
    Fresh,
    Repeated,
}

fn main() {
    AllocationRegistry::set_global_tracker(Counted).expect("the first tracker");
    let address = serve();
    println!(
        "{:<28} allocations    bytes  above {FAST}   blocks of {LISTED} bytes and more",
        "a request",
    );
    for (name, path, key) in [
        ("plain handler", PLAIN, Key::None),
        ("attribute: no key", ATTRIBUTE, Key::None),
        ("attribute: first execution", ATTRIBUTE, Key::Fresh),
        ("attribute: replay", ATTRIBUTE, Key::Repeated),
        ("layer: no key", LAYER, Key::None),
        ("layer: first execution", LAYER, Key::Fresh),
        ("layer: replay", LAYER, Key::Repeated),
    ] {
        let mut client = Client::new(address, path, key);
        client.send(REQUESTS / 10);
        BLOCKS.iter().for_each(|block| block.store(0, Relaxed));
        AllocationRegistry::enable_tracking();
        client.send(REQUESTS);
        AllocationRegistry::disable_tracking();
        report(name);
    }
}

/// A server on a thread of its own.
fn serve() -> SocketAddr {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            send.send(address).expect("a thread that waits");
            axum::serve(listener, plain::router()).await
        })
    });
    receive.recv().expect("a server")
}

fn report(name: &str) {
    let counts = BLOCKS.iter().map(|block| block.load(Relaxed));
    let counts: Vec<(usize, u64)> = counts.enumerate().filter(|(_, count)| *count > 0).collect();
    let each = |count: u64| count as f64 / REQUESTS as f64;
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    let bytes: u64 = counts
        .iter()
        .map(|(size, count)| *size as u64 * count)
        .sum();
    let slow: u64 = counts
        .iter()
        .filter(|(size, _)| *size > FAST)
        .map(|(_, count)| count)
        .sum();
    let largest: Vec<_> = counts
        .iter()
        .rev()
        .filter(|(size, count)| *size >= LISTED && *count >= REQUESTS / 2)
        .flat_map(|(size, count)| (0..(count + REQUESTS / 2) / REQUESTS).map(|_| size.to_string()))
        .collect();
    println!(
        "{name:<28} {:>11.1} {:>8.0} {:>11.1}   {}",
        each(all),
        each(bytes),
        each(slow),
        largest.join(" "),
    );
}

/// A client that allocates nothing while it sends.
struct Client {
    stream: TcpStream,
    request: Request,
    is_fresh: bool,
    response: [u8; 2048],
}

impl Client {
    fn new(address: SocketAddr, path: &str, key: Key) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option of the socket");
        let mut request = match key {
            Key::None => Request::new(path, ""),
            Key::Fresh | Key::Repeated => Request::under_keys(path),
        };
        if matches!(key, Key::Repeated) {
            request.under(Uuid::new_v4());
        }
        Self {
            stream,
            request,
            is_fresh: matches!(key, Key::Fresh),
            response: [0; 2048],
        }
    }

    fn send(&mut self, requests: u64) {
        for _ in 0..requests {
            if self.is_fresh {
                self.request.under(Uuid::new_v4());
            }
            let sent = self.stream.write_all(&self.request.bytes);
            sent.expect("a request sent");
            self.receive();
        }
    }

    /// Reads one response, whose body is one JSON object without others in it.
    fn receive(&mut self) {
        let mut length = 0;
        while !self.response[..length].ends_with(b"}") {
            let read = self.stream.read(&mut self.response[length..]);
            let read = read.expect("a response");
            assert_ne!(read, 0, "the server hung up");
            length += read;
        }
        assert!(self.response.starts_with(b"HTTP/1.1 201 "), "a booking");
    }
}
