//! Writes the log in a thread of its own, so that no request waits for its reader.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes may wait to be written. Further lines are lost.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// How long the process waits for its last lines to be written before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the thread waits before it writes again to a log that currently accepts no bytes.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// A handle on the thread that writes the log.
///
/// Writing never fails and never waits: lines that cannot be written are counted, and the count is logged once lines can be
/// written again.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    messages: Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything before it has been written or lost.
    Flush(Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    /// In bytes.
    waiting: AtomicUsize,
    /// In lines, since the start.
    lost: AtomicU64,
    /// How many of them the log has reported.
    reported: AtomicU64,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(log: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, waiting) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let writer = Self {
            messages,
            counts: Arc::clone(&counts),
        };
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(log, &waiting, &counts))?;
        Ok(writer)
    }

    /// Adds a line, which includes its end.
    pub(super) fn line(&self, line: Vec<u8>) {
        let length = line.len();
        let waiting = self.counts.waiting.fetch_add(length, Relaxed);
        if waiting + length > MAX_WAITING || self.messages.send(Message::Line(line)).is_err() {
            self.counts.waiting.fetch_sub(length, Relaxed);
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits at most a second until every line so far has been written or lost.
    pub(super) fn flush(&self) {
        if self.is_flushed() && self.counts.report_lost() {
            self.is_flushed();
        }
    }

    fn is_flushed(&self) -> bool {
        let (flushed, flush) = mpsc::channel();
        self.messages.send(Message::Flush(flushed)).is_ok()
            && flush.recv_timeout(FLUSH_TIMEOUT).is_ok()
    }
}

impl Counts {
    /// Logs how many lines are lost, if the number has grown since it was last logged.
    fn report_lost(&self) -> bool {
        let lost = self.lost.load(Relaxed);
        let is_news = self.reported.swap(lost, Relaxed) != lost;
        if is_news {
            tracing::warn!(
                lines = lost,
                "lines of this log were lost since the start, because it could not be written"
            );
        }
        is_news
    }
}

fn write_all(mut log: impl Write, messages: &Receiver<Message>, counts: &Counts) {
    // Whether the last line has been written completely.
    let mut is_whole = true;
    for message in messages {
        match message {
            Message::Line(mut line) => {
                counts.waiting.fetch_sub(line.len(), Relaxed);
                if !is_whole {
                    line.insert(0, b'\n');
                }
                match write_line(&mut log, &line) {
                    Ok(()) => {
                        is_whole = true;
                        counts.report_lost();
                    }
                    Err(written) => {
                        is_whole = is_whole && written == 0;
                        counts.lost.fetch_add(1, Relaxed);
                    }
                }
            }
            // After a second the process no longer waits for it.
            Message::Flush(flushed) => drop(flushed.send(())),
        }
    }
}

/// Writes the line. The error is the number of bytes that were written before the failure.
fn write_line(log: &mut impl Write, line: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < line.len() {
        match log.write(&line[written..]) {
            Ok(0) => return Err(written),
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares it has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_DELAY),
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// One event of the log, which is a line once it is dropped.
#[derive(Debug)]
pub(super) struct Event<'a> {
    writer: &'a Writer,
    line: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event {
            writer: self,
            line: Vec::new(),
        }
    }
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.writer.line(std::mem::take(&mut self.line));
        }
    }
}
