//! The options of `core-api keys`.

mod store;

use std::{fmt, path::PathBuf, str::FromStr};

use axum::http::{HeaderName, HeaderValue, StatusCode};
use clap::{ArgGroup, Args, Subcommand};

use super::secretive::Secretive;
use crate::{
    keys::{Age, KeyId, Prepared, WantedPhase},
    tokens::Subject,
};

pub use store::KeyStore;

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Lists keys, in the order of their ids.
    List(ListKeys),
    /// Shows one key: by its id, or by its subject and the key itself.
    Show(ShowKey),
    /// Ends runs without a response: the next request with such a key runs.
    ///
    /// First check whether the run took effect: if so, the next request takes effect a second time. A filter applies to the keys
    /// of every service that shares the store: narrow it, and read the list first. The steps of a suspended run are dropped, so
    /// a filter includes such keys only with --suspended.
    Release(ReleaseKeys),
    /// Ends a run with this response, which every retry receives.
    Resolve(ResolveKey),
    /// Removes the responses of completed runs. Their keys stay in use: a retry gets 410 and does not run.
    ///
    /// A filter applies to the keys of every service that shares the store.
    Erase(EraseKeys),
    /// Follows changes on a database server or in a running service until SIGINT: new keys, and keys that are completed, released, taken over, lost or erased.
    ///
    /// The list is read repeatedly, so of two changes between two reads only the last is shown. At most 10000 keys are followed.
    Tail(TailKeys),
    /// Removes expired records. No other key is changed.
    Purge(PurgeKeys),
}

/// The conditions that a key must meet.
#[derive(Clone, Debug, Default, Args)]
#[command(group = ArgGroup::new("phase"))]
pub struct KeyFilter {
    /// Only keys whose run has not ended.
    #[arg(long, group = "phase")]
    pub in_flight: bool,

    /// Only keys whose run has not ended and whose lease has expired, so that its process is lost. Excludes suspended keys.
    #[arg(long, group = "phase")]
    pub stuck: bool,

    /// Only keys whose run failed after completing steps, after which the next attempt resumes.
    #[arg(long, group = "phase")]
    pub suspended: bool,

    /// Only keys whose run is completed.
    #[arg(long, group = "phase")]
    pub completed: bool,

    /// Only keys claimed at least this long ago: a number and s, m, h or d, such as 10m.
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<Age>,

    /// Only keys with this label, as shown by a list.
    #[arg(long, value_name = "LABEL", conflicts_with = "of_subject")]
    pub label: Option<String>,

    /// Only keys of this subject.
    #[arg(long, value_name = "SUBJECT")]
    pub of_subject: Option<Subject>,

    /// Only keys of this route, such as "POST /bookings".
    #[arg(long, value_name = "ROUTE")]
    pub route: Option<String>,
}

/// Which keys are listed.
#[derive(Clone, Debug, Args)]
pub struct ListKeys {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// Which keys.
    #[command(flatten)]
    pub filter: KeyFilter,

    /// The greatest number of keys to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,

    /// Prints one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Which keys are followed.
#[derive(Clone, Debug, Args)]
pub struct TailKeys {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// Which keys.
    #[command(flatten)]
    pub filter: KeyFilter,

    /// The seconds between two reads.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub every: u32,

    /// Prints one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Which key is shown.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("named").required(true))]
pub struct ShowKey {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// Its id: 16 to 64 hexadecimal digits, as in a list or a log line.
    #[arg(value_name = "ID", group = "named", value_parser = Secretive::<KeyId>::new())]
    pub id: Option<KeyId>,

    /// The subject whose key it is; without it, the key of a caller without a token.
    #[arg(long, value_name = "SUBJECT", conflicts_with = "id")]
    pub subject: Option<Subject>,

    /// The key was sent with an operator's token. Those keys are separate from the subject's other keys.
    #[arg(long, requires = "subject")]
    pub operator: bool,

    /// The key, as the client sent it; - reads it from standard input, so that it does not appear in the shell's history.
    #[arg(long, value_name = "KEY", group = "named")]
    pub key: Option<KeyText>,

    /// Reads the key from standard input.
    #[arg(long, group = "named")]
    pub key_stdin: bool,

    /// Also prints the body of the stored response. It belongs to its caller.
    #[arg(long)]
    pub body: bool,

    /// Prints a JSON object on one line.
    #[arg(long)]
    pub json: bool,
}

/// Keys by their ids, or by a filter.
#[derive(Clone, Debug, Args)]
pub struct Chosen {
    /// Ids of keys; - reads them from standard input, one per line, or the lines of "list --json", which include the version seen.
    #[arg(value_name = "ID", value_parser = Secretive::<IdArgument>::new())]
    pub ids: Vec<IdArgument>,

    /// Which keys.
    #[command(flatten)]
    pub filter: KeyFilter,

    /// The greatest number of the filter's keys to change.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,

    /// Changes the filter's keys; without it only their number is printed.
    #[arg(long)]
    pub yes: bool,

    /// Prints one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Which keys are released.
#[derive(Clone, Debug, Args)]
pub struct ReleaseKeys {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// Which keys.
    #[command(flatten)]
    pub chosen: Chosen,

    /// Includes keys whose lease has not expired. Their runs may be about to take effect.
    #[arg(long)]
    pub even_if_running: bool,
}

/// Which responses are erased.
#[derive(Clone, Debug, Args)]
pub struct EraseKeys {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// Which keys.
    #[command(flatten)]
    pub chosen: Chosen,

    /// Also erase a response that cannot be decrypted, of a key that is given by its whole id. Make sure first that the
    /// secret is the right one: with another one every response looks like that, and an erased one is lost.
    #[arg(long)]
    pub even_if_unreadable: bool,
}

/// The response to store for a key.
#[derive(Clone, Debug, Args)]
pub struct ResolveKey {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// The id of the key; - reads it from standard input.
    #[arg(value_name = "ID", value_parser = Secretive::<IdArgument>::new())]
    pub id: IdArgument,

    /// The status of the response, 200 to 599.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub status: StatusCode,

    /// The file with the body; without it the body is empty.
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,

    /// A header field of the response, such as "Location: /bookings/…"; repeat the option for more. Without a Content-Type
    /// the body is application/json.
    #[arg(long = "header", value_name = "FIELD", value_parser = field)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// How long retries receive it, at least a minute, such as 12h.
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = ttl)]
    pub ttl: Age,

    /// Even if its lease has not expired. Its run may be about to take effect.
    #[arg(long)]
    pub even_if_running: bool,

    /// Prints a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Where expired records are removed.
#[derive(Clone, Debug, Args)]
pub struct PurgeKeys {
    /// Where the keys are.
    #[command(flatten)]
    pub store: KeyStore,

    /// Prints a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// An id, or `-` for the ids on standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdArgument {
    /// This one.
    One(KeyId),
    /// The ids on standard input.
    StandardInput,
}

/// A key as a client sent it. `Debug` does not show it.
#[derive(Clone)]
pub struct KeyText(Box<str>);

impl KeyFilter {
    /// The requested phase.
    pub(crate) fn phase(&self) -> Option<WantedPhase> {
        let named = [
            (self.in_flight, WantedPhase::InFlight),
            (self.stuck, WantedPhase::Stuck),
            (self.suspended, WantedPhase::Suspended),
            (self.completed, WantedPhase::Completed),
        ];
        let named = named.into_iter().find(|(is_asked, _)| *is_asked);
        named.map(|(_, phase)| phase)
    }

    /// Whether it excludes any keys.
    pub(crate) fn is_any(&self) -> bool {
        self.phase().is_some()
            || self.older_than.is_some()
            || self.label.is_some()
            || self.of_subject.is_some()
            || self.route.is_some()
    }
}

impl KeyText {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-" => Ok(Self::StandardInput),
            text => text.parse().map(Self::One),
        }
    }
}

impl From<String> for KeyText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyText(…)")
    }
}

fn ttl(text: &str) -> Result<Age, String> {
    let ttl = text.parse::<Age>()?;
    let least = Prepared::MIN_TTL;
    (ttl.0 >= least).then_some(ttl).ok_or_else(|| {
        "a response must be stored for at least a minute: a retry that does not find it runs".into()
    })
}

fn status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse::<StatusCode>().ok();
    let status = status.filter(|status| (200..=599).contains(&status.as_u16()));
    status.ok_or_else(|| "expected a status from 200 to 599".into())
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let read = text
        .split_once(':')
        .and_then(|(name, value)| Some((name.parse().ok()?, value.trim().parse().ok()?)));
    read.ok_or_else(|| "expected a header field such as Location: /bookings/1".into())
}
