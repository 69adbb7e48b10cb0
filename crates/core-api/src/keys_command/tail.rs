//! `core-api keys tail`: changes of keys, found by reading the list repeatedly.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio::{signal::ctrl_c, time::sleep};

use super::{open, print, source::Source};
use crate::{
    config::{KeyFilter, TailKeys},
    keys::{Summary, View},
    logging,
};

/// With more keys a read would take longer than the time between two reads, and all keys are kept in memory.
const MAX_FOLLOWED: usize = 10_000;

/// The keys at one read, by their ids.
type Seen = BTreeMap<String, Summary>;

/// The change of a key since the last read.
#[derive(Serialize)]
pub(super) struct Change {
    event: &'static str,
    #[serde(flatten)]
    key: Summary,
}

/// Prints changes until SIGINT.
pub(super) async fn run(asked: &TailKeys) -> Result<(), String> {
    if asked.store.service.is_none() && asked.store.is_of_one_process() {
        return Err(
            "tail: only one process can open a SQLite file or keys in memory, so no other process changes them; follow the running service \
             with --service"
                .into(),
        );
    }
    let source = open(&asked.store).await?;
    let mut seen = look(&source, &asked.filter).await?;
    let mut table = print::Changes::new(asked.json);
    logging::say(&format!("following {} keys until SIGINT", seen.len()));
    let every = Duration::from_secs(asked.every.into());
    let mut interrupted = std::pin::pin!(ctrl_c());
    loop {
        let looked = async {
            sleep(every).await;
            look(&source, &asked.filter).await
        };
        let found = tokio::select! {
            _ = &mut interrupted => return Ok(()),
            found = looked => found,
        };
        match found {
            Ok(found) => {
                for change in changes(&seen, &found) {
                    table.line(change.event, &change.key, &change)?;
                }
                seen = found;
            }
            // The store may recover.
            Err(error) => logging::say(&error),
        }
    }
}

async fn look(source: &Source, filter: &KeyFilter) -> Result<Seen, String> {
    let (mut listing, mut seen) = (source.list(filter, None), Seen::new());
    loop {
        let page = listing.next().await?;
        if page.is_empty() {
            return Ok(seen);
        }
        for item in page {
            // Unreadable records have no changes.
            if let View::Readable(summary) = item.view {
                seen.insert(summary.id.clone(), *summary);
            }
        }
        if seen.len() > MAX_FOLLOWED {
            return Err(format!(
                "tail: there are more than {MAX_FOLLOWED} keys; narrow the filter, such as by --in-flight"
            ));
        }
    }
}

/// The changes between two reads, in the order of ids.
fn changes(before: &Seen, now: &Seen) -> Vec<Change> {
    let gone = before.values().filter(|key| !now.contains_key(&key.id));
    let gone = gone.map(|key| (gone_by(key), key));
    let changed = now.values().filter_map(|key| {
        let event = match before.get(&key.id) {
            None => "new",
            Some(old) => event(old, key)?,
        };
        Some((event, key))
    });
    let all = gone.chain(changed).map(|(event, key)| Change {
        event,
        key: key.clone(),
    });
    all.collect()
}

fn gone_by(last: &Summary) -> &'static str {
    match last.phase.as_ref() {
        "done" | "erased" => "removed",
        // The key was freed, has expired, or no longer matches the filter, such as a completed key where only keys in flight are followed.
        _ => "gone",
    }
}

fn event(old: &Summary, key: &Summary) -> Option<&'static str> {
    if (&old.version, &old.phase) == (&key.version, &key.phase) {
        return None;
    }
    Some(match key.phase.as_ref() {
        "done" => "completed",
        "erased" => "erased",
        "lost" => "lost",
        "suspended" => "suspended",
        _ if key.attempt > old.attempt => "taken over",
        _ => "changed",
    })
}

#[cfg(test)]
mod tests {
    use idempotency::{Fingerprint, Idempotency, IdempotencyKey, MemoryStore, Scope};

    use super::*;

    /// The list with one completed key.
    async fn one() -> Seen {
        let idempotency = Idempotency::new(MemoryStore::new());
        let key = IdempotencyKey::new("k").unwrap();
        let (scope, asked) = (Scope::anonymous(), Fingerprint::of([b"x".as_slice()]));
        let work = async { Ok::<_, ()>(1) };
        let run = idempotency.run(&scope, &key, asked, work).await;
        assert!(run.is_ok());
        let source = Source::Store(Box::new(idempotency));
        look(&source, &KeyFilter::default()).await.unwrap()
    }

    fn events(before: &Seen, now: &Seen) -> Vec<&'static str> {
        let changes = changes(before, now);
        changes.iter().map(|change| change.event).collect()
    }

    fn with(seen: &Seen, change: impl Fn(&mut Summary)) -> Seen {
        let mut seen = seen.clone();
        seen.values_mut().for_each(change);
        seen
    }

    // proves: key-changes-followed
    #[tokio::test]
    async fn each_change_has_its_word_and_what_stays_has_none() {
        let done = one().await;
        let nothing = Seen::new();
        let running = with(&done, |key| {
            key.phase = "running".into();
            key.version = "before".into();
        });
        assert_eq!(events(&done, &done), [""; 0]);
        assert_eq!(events(&nothing, &done), ["new"]);
        assert_eq!(events(&running, &done), ["completed"]);
        assert_eq!(events(&running, &nothing), ["gone"]);
        assert_eq!(events(&done, &nothing), ["removed"]);
        let lost = with(&running, |key| key.phase = "lost".into());
        assert_eq!(events(&running, &lost), ["lost"]);
        let again = with(&running, |key| {
            key.attempt += 1;
            key.version = "again".into();
        });
        assert_eq!(events(&lost, &again), ["taken over"]);
        let step = with(&running, |key| key.version = "after a step".into());
        assert_eq!(events(&running, &step), ["changed"]);
        let erased = with(&done, |key| key.phase = "erased".into());
        assert_eq!(events(&done, &erased), ["erased"]);
    }
}
