//! How the store's statements reach the threads of the file.

use rusqlite::Connection;

use super::{
    SqliteStore, SqliteStoreError,
    index::{self, File, Seen},
    list::Recent,
    places::{Candidates, Start},
    room::Changes,
    threads::Turn,
    timeline::Now,
};
use crate::{record::RecordId, store::IfOwner};

impl SqliteStore {
    /// Runs `step` on the thread that writes, with the time of that moment, and `then` once it is durable.
    pub(super) async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(File<'_>, &Now, &mut Changes) -> Result<T, rusqlite::Error> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
        turn: Turn,
    ) -> Result<T, SqliteStoreError> {
        let (timeline, durable) = (self.timeline.clone(), self.timeline.clone());
        let places = self.places.clone();
        let work = move |connection: &Connection| {
            let (now, stamp) = timeline.pass(connection)?;
            let mut changes = Changes::default();
            let places = &places;
            let done = step(File { connection, places }, &now, &mut changes)?;
            Ok((done, stamp, changes))
        };
        let room = self.room.clone();
        let then = move |(done, stamp, changes): &(T, _, _)| {
            durable.saved(*stamp);
            room.count(changes);
            then(done);
        };
        let (done, ..) = self.database.write_and_then(work, then, turn).await?;
        Ok(done)
    }

    /// Looks for the record in these places, on a thread that reads.
    pub(super) async fn see(
        &self,
        id: RecordId,
        candidates: Candidates,
    ) -> Result<Seen, SqliteStoreError> {
        let see = move |connection: &Connection| index::see(connection, &id, &candidates);
        self.database.look_up(see).await
    }

    /// The recent places in which a list goes on.
    pub(super) async fn recent_from(&self, from: Start) -> Result<Recent, SqliteStoreError> {
        loop {
            if let Some(recent) = Recent::from(&self.places, from) {
                return Ok(recent);
            }
            // The thread that writes reads the index before its next work.
            self.step(|_, _, _| Ok(()), |_| (), Turn::New).await?;
        }
    }

    /// Wakes those who wait for this record, once the hold's end is durable.
    pub(super) fn wake<T>(&self, id: RecordId) -> impl FnOnce(&IfOwner<T>) + Send + 'static {
        let wakeups = self.wakeups.clone();
        move |fenced| {
            if matches!(fenced, IfOwner::Done(_)) {
                wakeups.wake(&id);
            }
        }
    }
}
