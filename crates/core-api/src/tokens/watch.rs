//! Reads the file again after it has changed.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::{Digest, Failure, Table, Tokens, file};

/// Reads the file every second until this is dropped. It has its own thread, so that a file system that stops responding delays
/// neither requests nor shutdown.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Sender<()>);

/// How often the file is read. Its text is compared, because two versions can have the same time and length.
const EVERY: Duration = Duration::from_secs(1);

/// How long after a change the file is read once more. It is used only if it is still the same, because a file that is being
/// written may end between two lines.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// A file that stays unusable is reported again after this many reads.
const LOOKS_BETWEEN_REPORTS: u32 = 60;

/// The result of the last reads.
struct Looks {
    tokens: Arc<Tokens>,
    /// Why the current version cannot be used, and how many reads have found that since it was reported.
    failed: Option<(String, u32)>,
    /// A version that was read once, and whether another read was requested since.
    settling: Option<(Digest, bool)>,
}

/// The result of one read.
enum Look {
    Same,
    Settling(Digest),
    Taken,
}

impl Watch {
    /// Starts the thread.
    pub(crate) fn start(tokens: Arc<Tokens>) -> std::io::Result<Self> {
        let (asking, asked) = channel();
        let looks = Looks {
            tokens,
            failed: None,
            settling: None,
        };
        thread::Builder::new()
            .name("tokens".into())
            .spawn(move || looks.look_until_the_end(&asked))?;
        Ok(Self(asking))
    }

    /// Reads the file now and logs the result.
    pub(crate) fn look_now(&self) {
        // The thread ends when the last of these is dropped.
        let _ = self.0.send(());
    }
}

impl Looks {
    fn look_until_the_end(mut self, asked: &Receiver<()>) {
        loop {
            let pause = match self.settling {
                Some(_) => SETTLED_AFTER,
                None => EVERY,
            };
            let is_asked = match asked.recv_timeout(pause) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.look(is_asked);
        }
    }

    fn look(&mut self, is_asked: bool) {
        let (settling, was_asked) = self.settling.take().unzip();
        let is_asked = is_asked || was_asked.unwrap_or_default();
        let look = self.tokens.read_again(settling);
        self.tokens.is_stale.store(look.is_err(), Ordering::Relaxed);
        match look {
            Ok(Look::Settling(digest)) => self.settling = Some((digest, is_asked)),
            Ok(look) => {
                let is_taken = matches!(look, Look::Taken);
                if is_taken || is_asked || self.failed.take().is_some() {
                    self.failed = None;
                    let (tokens, subjects) = self.tokens.current.read().counts();
                    tracing::info!(tokens, subjects, "the token file was read again");
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
                "the token file cannot be used; the tokens read before stay valid"
            );
        }
        self.failed = Some((error, (seen + 1) % LOOKS_BETWEEN_REPORTS));
    }
}

impl Tokens {
    /// Uses the file's text if the previous read found the same. If it is not valid, the previous tokens stay.
    fn read_again(&self, before: Option<Digest>) -> Result<Look, Failure> {
        let text = file::read(&self.path)?;
        if self.current.read().is_of(&text) {
            return Ok(Look::Same);
        }
        let digest = Digest::of(text.as_bytes());
        if before != Some(digest) {
            return Ok(Look::Settling(digest));
        }
        let table = Table::read(&text)?;
        *self.current.write() = Arc::new(table);
        Ok(Look::Taken)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    // proves: token-file-read-again
    #[test]
    fn a_file_that_is_still_being_written_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        fs::write(&path, "# Nobody.\n").unwrap();
        let tokens = Tokens::open(&path).unwrap();
        let look = |before| match tokens.read_again(before).unwrap() {
            Look::Settling(digest) => Some(digest),
            Look::Same | Look::Taken => None,
        };
        fs::write(&path, "# Half\n").unwrap();
        let half = look(None).expect("it has changed");
        fs::write(&path, "# Half\n# And half.\n").unwrap();
        let whole = look(Some(half)).expect("it has changed again");
        assert!(matches!(
            tokens.read_again(Some(whole)).unwrap(),
            Look::Taken
        ));
        assert!(matches!(tokens.read_again(None).unwrap(), Look::Same));
    }
}
