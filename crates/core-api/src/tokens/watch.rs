//! Reads the file again when it has changed.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::{Failure, Table, Tokens, file};

/// Reads the file every second until this is dropped. A thread of its own does it: a file system that has stopped responding
/// holds up no request and no stop.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Sender<()>);

/// How often the file is read. What it says is compared, because two changes can have one time and one length.
const EVERY: Duration = Duration::from_secs(1);

/// A file that stays unusable is reported again after this many looks.
const LOOKS_BETWEEN_REPORTS: u32 = 60;

/// What was last found of the file.
struct Looks {
    tokens: Arc<Tokens>,
    /// Why the version that is there now cannot be used, and how often that was seen since it was reported.
    failed: Option<(String, u32)>,
}

impl Watch {
    /// Begins.
    pub(crate) fn start(tokens: Arc<Tokens>) -> std::io::Result<Self> {
        let (asking, asked) = channel();
        let looks = Looks {
            tokens,
            failed: None,
        };
        thread::Builder::new()
            .name("tokens".into())
            .spawn(move || looks.look_until_the_end(&asked))?;
        Ok(Self(asking))
    }

    /// Reads the file now, and logs what came of it.
    pub(crate) fn look_now(&self) {
        // The thread ends with the last of these only.
        let _ = self.0.send(());
    }
}

impl Looks {
    fn look_until_the_end(mut self, asked: &Receiver<()>) {
        loop {
            let is_asked = match asked.recv_timeout(EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.look(is_asked);
        }
    }

    fn look(&mut self, is_asked: bool) {
        match self.tokens.read_again() {
            Ok(changed) => {
                if changed || is_asked || self.failed.take().is_some() {
                    self.failed = None;
                    let (tokens, subjects) = self.tokens.current.read().counts();
                    tracing::info!(tokens, subjects, "the file of the tokens was read again");
                }
            }
            Err(error) => self.report(error.to_string(), is_asked),
        }
    }

    fn report(&mut self, error: String, is_asked: bool) {
        let seen = match &self.failed {
            Some((before, seen)) if *before == error && !is_asked => *seen,
            _ => 0,
        };
        if seen == 0 {
            tracing::error!(
                error,
                path = %self.tokens.path.display(),
                "the file of the tokens cannot be used; those that were read before stay valid"
            );
        }
        self.failed = Some((error, (seen + 1) % LOOKS_BETWEEN_REPORTS));
    }
}

impl Tokens {
    /// Takes what the file says now. If that is not valid, what it said before stays.
    fn read_again(&self) -> Result<bool, Failure> {
        let text = file::read(&self.path)?;
        if self.current.read().is_of(&text) {
            return Ok(false);
        }
        let table = Table::read(&text)?;
        *self.current.write() = Arc::new(table);
        Ok(true)
    }
}
