//! Reads the file again after it has changed.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use tokio::time::sleep;

use super::{Digest, Failure, Table, Tokens, file};

/// Reads the file every second until this is dropped. It has its own thread, so that a file system that stops responding delays
/// neither requests nor shutdown.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    tokens: Arc<Tokens>,
    /// Requests a read. The thread ends when the last of these is dropped.
    asking: Sender<()>,
}

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
            tokens: Arc::clone(&tokens),
            failed: None,
            settling: None,
        };
        thread::Builder::new()
            .name("tokens".into())
            .spawn(move || looks.look_until_the_end(&asked))?;
        Ok(Self { tokens, asking })
    }

    /// Reads the file now and logs the result.
    pub(crate) fn look_now(&self) {
        // It fails if the thread has panicked, which is reported when the reads are overdue.
        let _ = self.asking.send(());
    }

    /// Logs whenever no read of the file has ended for too long. The thread that reads it cannot do so: it waits for the file system, or
    /// has panicked.
    pub(crate) async fn report_overdue_reads(&self) {
        let path = self.tokens.path.display();
        let mut was_overdue = false;
        loop {
            sleep(EVERY).await;
            let is_overdue = self.tokens.freshness.is_overdue();
            match (was_overdue, is_overdue) {
                (false, true) => tracing::error!(
                    %path,
                    "the token file could not be read for ten seconds; the tokens read before stay valid, and so do those revoked since"
                ),
                (true, false) => tracing::info!(%path, "the token file can be read"),
                _ => {}
            }
            was_overdue = is_overdue;
        }
    }
}

impl Looks {
    fn look_until_the_end(mut self, asked: &Receiver<()>) {
        // The databases may have taken long to open since the file was read.
        self.look(false);
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
        // A version that was read once says nothing: it may turn out to be the same invalid one.
        if !matches!(look, Ok(Look::Settling(_))) {
            self.tokens.freshness.read(look.is_ok());
        }
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

    // proves: token-file-read-again
    #[test]
    fn a_file_stays_stale_until_a_version_of_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        fs::write(&path, "# Nobody.\n").unwrap();
        let mut looks = Looks {
            tokens: Arc::new(Tokens::open(&path).unwrap()),
            failed: None,
            settling: None,
        };
        let mut look = || {
            looks.look(false);
            looks.tokens.is_stale()
        };
        fs::write(&path, "nonsense\n").unwrap();
        assert_eq!([look(), look(), look(), look()], [false, true, true, true]);
        fs::write(&path, "# Everybody.\n").unwrap();
        assert_eq!([look(), look()], [true, false]);
    }
}
