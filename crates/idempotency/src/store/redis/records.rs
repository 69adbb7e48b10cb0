//! Each step of the protocol as a script on the record's one key.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redis::Cmd;

use super::{
    error::failure,
    keys::Keys,
    micros, origin,
    reply::Reply,
    script::{self, Script, Step},
    server::Server,
    together::{Attempt, Calls},
};
use crate::{
    Fingerprint, OnLost,
    record::{Phase, Record, RecordId, Token},
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, SPENT_FOR, StoreError,
        StoreErrorKind,
        lane::{Attempt as _, Lane},
    },
};

/// The records with one prefix on one server.
#[derive(Clone)]
pub(super) struct Records {
    pub(super) server: Server,
    pub(super) keys: Keys,
}

/// A script's reply, and whether the script may have run before with a lost reply.
struct Ran {
    reply: Reply,
    repeated: bool,
}

impl Records {
    pub(super) async fn find(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.look(id).await?;
        Ok(found.map(|(record, _)| record))
    }

    /// The record, and the server's time when it was read.
    async fn look(&self, id: &RecordId) -> Result<Option<(Record, SystemTime)>, StoreError> {
        let looks = self.server.lanes().map(|lanes| &lanes.looks);
        match self.run_together(looks, &script::FIND, id, |_| ()).await? {
            Reply::Found { record, now } => Ok(Some((record, now))),
            Reply::Absent => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// What to list under this id, if it matches the request.
    pub(super) async fn listed(
        &self,
        id: &RecordId,
        request: &ListRequest,
    ) -> Result<Option<Listed>, StoreError> {
        match self.look(id).await {
            Ok(found) => Ok(found
                .filter(|(record, now)| request.matches(record, *now))
                .map(|(record, _)| record.into())),
            Err(error) if error.kind() == StoreErrorKind::Unreadable => {
                Ok(Some(Listed::unreadable(*id, error)))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
            ..
        } = request;
        let labels = origin::labels(&hold.labels);
        let claims = self.server.lanes().map(|lanes| &lanes.claims);
        let claimed = self.run_together(claims, &script::CLAIM, &hold.id, |command| {
            add_claim(command, hold, fingerprint);
            command.arg(match on_lost {
                OnLost::TakeOver => "take over",
                OnLost::Refuse => "refuse",
            });
            command.arg(&labels);
        });
        match claimed.await? {
            Reply::Won { attempt, progress } => Ok(Claim::Won { attempt, progress }),
            Reply::Spent => Err(StoreError::withdrawn()),
            // The script replies this only to an equal fingerprint.
            Reply::Unknown => Ok(Claim::Unknown {
                fingerprint: *fingerprint,
            }),
            Reply::Found { record, .. } => Ok(match record.phase {
                Phase::InFlight { .. } => Claim::InFlight {
                    fingerprint: record.fingerprint,
                },
                Phase::Completed { outcome } => Claim::Completed {
                    fingerprint: record.fingerprint,
                    outcome,
                    expires_at: record.expires_at,
                },
            }),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn withdraw(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<(), StoreError> {
        let withdrawn = self.run(&script::WITHDRAW, &hold.id, |command| {
            add_claim(command, hold, fingerprint);
        });
        match withdrawn.await?.reply {
            Reply::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let renewed = self.run(&script::RENEW, &hold.id, |command| {
            command
                .arg(hold.token.as_bytes())
                .arg(micros::span(hold.lease))
                .arg(micros::span(hold.ttl));
        });
        renewed.await?.reply.fenced()
    }

    pub(super) async fn checkpoint(
        &self,
        hold: &Hold,
        progress: &Bytes,
    ) -> Result<IfOwner<()>, StoreError> {
        let kept = self.run(&script::CHECKPOINT, &hold.id, |command| {
            command.arg(hold.token.as_bytes()).arg(progress.as_ref());
        });
        kept.await?.reply.fenced()
    }

    /// Ends the owner's hold and stores its progress, from which the next claim continues.
    pub(super) async fn suspend(
        &self,
        hold: &Hold,
        progress: &Bytes,
    ) -> Result<IfOwner<()>, StoreError> {
        let suspended = self.run(&script::SUSPEND, &hold.id, |command| {
            command
                .arg(hold.token.as_bytes())
                .arg(micros::span(hold.ttl))
                .arg(progress.as_ref());
        });
        match suspended.await? {
            Ran {
                reply: Reply::Done, ..
            } => Ok(IfOwner::Done(())),
            // Another claim may have taken over since the first time.
            other => other.lost(),
        }
    }

    /// Ends the owner's hold with an outcome.
    pub(super) async fn complete(
        &self,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let completions = self.server.lanes().map(|lanes| &lanes.completions);
        let completed = self.run_together(completions, &script::COMPLETE, &hold.id, |command| {
            add_completion(command, &hold.token, &hold.token, hold.ttl, outcome);
        });
        match completed.await? {
            Reply::Completed { expires_at } => Ok(IfOwner::Done(expires_at)),
            Reply::Lost => Ok(IfOwner::NotOwner),
            _ => Err(unexpected()),
        }
    }

    /// Ends a hold with an outcome, and shuts out its owner.
    pub(super) async fn complete_as_operator(
        &self,
        id: &RecordId,
        seen: &Token,
        ttl: Duration,
        outcome: &Bytes,
    ) -> Result<IfOwner<()>, StoreError> {
        let left = Token::random();
        let completed = self.run(&script::COMPLETE, id, |command| {
            add_completion(command, seen, &left, ttl, outcome);
        });
        match completed.await? {
            Ran {
                reply: Reply::Completed { .. },
                ..
            } => Ok(IfOwner::Done(())),
            other => other.lost(),
        }
    }

    /// Ends the owner's hold without an outcome.
    pub(super) async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let freed = self.run(&script::RELEASE, &hold.id, |command| {
            add_release(command, &hold.token, hold.lease).arg("owner");
        });
        freed.await?.freed()
    }

    /// Ends a hold without an outcome, and shuts out its owner.
    pub(super) async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
    ) -> Result<IfOwner<()>, StoreError> {
        let freed = self.run(&script::RELEASE, id, |command| {
            add_release(command, seen, SPENT_FOR).arg("operator");
        });
        freed.await?.freed()
    }

    /// Replaces the outcome of a completed run. An erasure removes its label, too.
    pub(super) async fn replace(
        &self,
        id: &RecordId,
        seen: &Token,
        outcome: &Bytes,
        erases: bool,
    ) -> Result<IfOwner<()>, StoreError> {
        let replaced = self.run(&script::REPLACE, id, |command| {
            command
                .arg(seen.as_bytes())
                .arg(outcome.as_ref())
                .arg(if erases { "erase" } else { "replace" });
        });
        match replaced.await? {
            Ran {
                reply: Reply::Done, ..
            } => Ok(IfOwner::Done(())),
            // The record may have been forgotten since the first time.
            other => other.lost(),
        }
    }

    /// Frees the key of a completed run.
    pub(super) async fn forget(
        &self,
        id: &RecordId,
        seen: &Token,
    ) -> Result<IfOwner<()>, StoreError> {
        let forgotten = self.run(&script::FORGET, id, |command| {
            add_release(command, seen, SPENT_FOR);
        });
        forgotten.await?.freed()
    }

    /// The ids of all records, including some that have expired.
    pub(super) async fn ids(&self) -> Result<Vec<RecordId>, StoreError> {
        let names = self.server.keys(&self.keys.pattern()).await;
        let names = names.map_err(failure)?;
        // Each id has one name, so these are in the order of ids.
        Ok(names.iter().filter_map(|name| self.keys.id(name)).collect())
    }

    async fn run(
        &self,
        script: &Script,
        id: &RecordId,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Ran, StoreError> {
        let step = Step::new(self.keys.name(id), &arguments);
        let replied = self.server.run(Attempt::first(), script, step).await;
        let replied = replied.map_err(failure)?;
        Ok(Ran {
            reply: Reply::read(id, replied.value)?,
            repeated: replied.repeated,
        })
    }

    /// Takes a step with those of the same kind that wait in this lane. It must leave a trace by which it recognises itself.
    async fn run_together(
        &self,
        lane: Option<&Lane<Calls>>,
        script: &Script,
        id: &RecordId,
        arguments: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<Reply, StoreError> {
        let step = || Step::new(self.keys.name(id), &arguments);
        let alone = async |attempt| {
            let replied = self.server.run(attempt, script, step()).await;
            Ok(replied.map_err(failure)?.value)
        };
        let value = match lane {
            Some(lane) => lane.run(step, alone).await?,
            None => alone(Attempt::first()).await?,
        };
        Reply::read(id, value)
    }
}

/// The arguments that a claim and its withdrawal have in common.
fn add_claim(command: &mut Cmd, hold: &Hold, fingerprint: &Fingerprint) {
    command
        .arg(hold.token.as_bytes())
        .arg(fingerprint.as_bytes())
        .arg(micros::span(hold.lease))
        .arg(micros::span(hold.ttl));
}

/// The arguments of a completion, by an owner or an operator.
fn add_completion(command: &mut Cmd, token: &Token, left: &Token, ttl: Duration, outcome: &Bytes) {
    command
        .arg(token.as_bytes())
        .arg(left.as_bytes())
        .arg(micros::span(ttl))
        .arg(outcome.as_ref());
}

/// The arguments that the steps have in common which free a key.
fn add_release<'a>(command: &'a mut Cmd, token: &Token, spent_for: Duration) -> &'a mut Cmd {
    command.arg(token.as_bytes()).arg(micros::span(spent_for))
}

impl Reply {
    /// The result of a step that may be repeated.
    fn fenced(self) -> Result<IfOwner<()>, StoreError> {
        match self {
            Self::Done => Ok(IfOwner::Done(())),
            Self::Lost => Ok(IfOwner::NotOwner),
            _ => Err(unexpected()),
        }
    }
}

impl Ran {
    /// The result of a step that frees a key.
    fn freed(self) -> Result<IfOwner<()>, StoreError> {
        match (self.reply, self.repeated) {
            // If the first reply was lost, this very step freed the key.
            (Reply::Done, _) | (Reply::Free, true) => Ok(IfOwner::Done(())),
            (Reply::Free, false) => Ok(IfOwner::NotOwner),
            (reply, repeated) => Self { reply, repeated }.lost(),
        }
    }

    /// The result of a step that leaves no trace of its caller. If it was sent twice, the first may have been taken,
    /// which cannot be ruled out.
    fn lost<T>(self) -> Result<IfOwner<T>, StoreError> {
        match (self.reply, self.repeated) {
            (Reply::Lost, false) => Ok(IfOwner::NotOwner),
            (Reply::Lost, true) => Err(StoreError::unavailable(
                "the connection broke before the reply arrived; the step may have been taken",
            )),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> StoreError {
    StoreError::unreadable("Redis sent a reply that this step does not expect")
}
