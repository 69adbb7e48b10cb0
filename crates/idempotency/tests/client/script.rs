//! A service that does with each connection what its script says.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// What happens to a request that has arrived.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It gets this response.
    Reply(String),
    /// It does so once the test says.
    Late(Arc<Notify>, Box<Step>),
    /// The connection ends without a response.
    Close,
    /// Nothing happens.
    Hang,
}

/// A request as it arrived: its head and its body.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// The service. Its last step is that of all further requests.
pub(crate) struct Script {
    pub(crate) url: String,
    arrived: watch::Receiver<Vec<Arrived>>,
}

impl Script {
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (arrivals, arrived) = watch::channel(Vec::new());
        let steps = Arc::new(Mutex::new(VecDeque::from_iter(steps)));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&steps), arrivals.clone()));
            }
        });
        Self {
            url: format!("http://{address}/bookings"),
            arrived,
        }
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.borrow().clone()
    }

    /// The key of each request.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.arrived().iter().map(Arrived::key).collect()
    }

    /// Returns once this many requests have arrived.
    pub(crate) async fn arrivals(&self, count: usize) {
        let mut arrived = self.arrived.clone();
        let enough = arrived.wait_for(|arrived| arrived.len() >= count);
        let enough = timeout(Duration::from_secs(60), enough).await;
        enough.expect("the requests arrive").expect("the service");
    }
}

impl Arrived {
    /// The value of its `Idempotency-Key`.
    pub(crate) fn key(&self) -> String {
        let mut lines = self.text.lines();
        let key = lines.find_map(|line| line.strip_prefix("idempotency-key: "));
        key.unwrap_or_else(|| panic!("no key: {}", self.text))
            .to_owned()
    }
}

/// A response with these header fields.
pub(crate) fn reply(status: &str, fields: &[(&str, &str)], body: &str) -> Step {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in fields {
        write!(text, "{name}: {value}\r\n").expect("a string");
    }
    write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("a string");
    Step::Reply(text)
}

pub(crate) fn status(status: &str) -> Step {
    reply(status, &[], "")
}

/// A problem of the library, as a service sends it.
pub(crate) fn problem(status: &str, code: &str, fields: &[(&str, &str)]) -> Step {
    let mut fields = fields.to_vec();
    fields.push(("Content-Type", "application/problem+json"));
    reply(status, &fields, &format!(r#"{{"code":"{code}"}}"#))
}

/// A response whose connection ends in the middle of its body.
pub(crate) fn broken_off() -> Step {
    let head = "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n";
    Step::Reply(format!("{head}the first half"))
}

async fn serve(
    mut connection: TcpStream,
    steps: Arc<Mutex<VecDeque<Step>>>,
    arrivals: watch::Sender<Vec<Arrived>>,
) {
    let Some(text) = read(&mut connection).await else {
        return;
    };
    let step = {
        let mut steps = steps.lock().expect("no panic");
        let step = steps.pop_front().expect("a step");
        if steps.is_empty() {
            steps.push_back(step.clone());
        }
        step
    };
    let at = Instant::now();
    arrivals.send_modify(|arrived| arrived.push(Arrived { text, at }));
    let step = match step {
        Step::Late(go_on, step) => {
            go_on.notified().await;
            *step
        }
        step => step,
    };
    match step {
        Step::Late(..) => panic!("late once only"),
        Step::Reply(text) => {
            // The client may have left.
            drop(connection.write_all(text.as_bytes()).await);
            drop(connection.shutdown().await);
        }
        Step::Close => drop(connection),
        Step::Hang => std::future::pending().await,
    }
}

/// One whole request.
async fn read(connection: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        let mut buffer = [0; 4096];
        match connection.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            Ok(0) | Err(_) => return None,
        }
    }
}
