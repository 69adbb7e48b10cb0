//! A running service, which is asked over HTTP, at `/admin/keys`.

use std::{error::Error, fmt, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, header, response::Parts},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use idempotency::log_text::{Causes, Printable};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};

use super::source::Changed;
use crate::{
    config::{KeyFilter, KeyStore, ServiceUrl, ShowKey},
    keys::{Change, KEY, KeyId, Outcome, Prepared, Shown, UNREADABLE, View, WantedPhase, escaped},
    sent_token,
};

/// The service, and the token with which the command asks it.
pub(super) struct Service {
    url: ServiceUrl,
    token: HeaderValue,
}

/// What the service responds.
struct Reply {
    head: Parts,
    body: Bytes,
}

/// Why the service refused, RFC 9457.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// What a change has come to.
#[derive(Deserialize)]
struct Done {
    result: String,
}

/// Why there is no response.
struct Failure {
    why: String,
    /// Whether the request may have arrived.
    was_sent: bool,
}

/// How many keys have been removed.
#[derive(Deserialize)]
struct Removed {
    removed: usize,
}

/// More than a list may take in the service.
const TIMEOUT: Duration = Duration::from_secs(45);

/// How many keys are asked for at once: as many as the service lists.
const PAGE: usize = 1000;

/// No list and no stored response is longer.
const MAX_REPLY: usize = 64 * 1024 * 1024;

impl Service {
    pub(super) fn new(url: &ServiceUrl, asked: &KeyStore) -> Result<Self, String> {
        if !url.is_local() && !asked.clear_text {
            return Err(format!(
                "--service: {url} is not on this machine, and this command speaks no TLS: the token could be read on its way. Forward a \
                 port by ssh -L, or accept it by --clear-text"
            ));
        }
        let token = sent_token::authorization(asked.token_file.as_deref())?;
        let token = token.ok_or_else(|| {
            let variable = sent_token::VARIABLE;
            format!("--service: give the token of an operator by --token-file, or in the environment variable {variable}")
        })?;
        if !url.is_local() {
            tracing::warn!("the token and the keys are sent to {url} in clear text");
        }
        Ok(Self {
            url: url.clone(),
            token,
        })
    }

    /// The path of the first page of these keys, unless the filter asks for another phase.
    pub(super) fn first_page(filter: &KeyFilter, phase: Option<WantedPhase>) -> String {
        let phase = filter
            .phase()
            .or(phase)
            .map(|phase| phase.name().to_owned());
        let older_than = filter.older_than.map(|age| format!("{}s", age.0.as_secs()));
        let subject = filter.of_subject.as_ref();
        let members = [
            ("phase", phase),
            ("older_than", older_than),
            ("label", filter.label.clone()),
            ("subject", subject.map(ToString::to_string)),
            ("route", filter.route.clone()),
        ];
        let mut path = format!("/admin/keys?limit={PAGE}");
        for (name, value) in members {
            if let Some(value) = value {
                path.extend(["&", name, "=", &escaped(&value)]);
            }
        }
        path
    }

    /// The keys of this page, and the path of the next one.
    pub(super) async fn page(&self, path: &str) -> Result<(Vec<View>, Option<String>), String> {
        let reply = self.get(path, None).await?.ok()?;
        let next = reply.head.headers.get(header::LINK);
        let next = next.and_then(|link| link.to_str().ok());
        let next = next.and_then(|link| link.strip_prefix('<')?.split_once('>'));
        let next = next.map(|(next, _)| next.to_owned());
        if next.as_deref() == Some(path) {
            return Err("the service's list has no end".into());
        }
        Ok((reply.json()?, next))
    }

    /// The key that is asked for, with its body if that is asked for too.
    pub(super) async fn show(
        &self,
        asked: &ShowKey,
        key: Option<&str>,
    ) -> Result<Option<Shown>, String> {
        let body = if asked.body { "body=true" } else { "" };
        let reply = match (&asked.id, &asked.subject) {
            (Some(id), _) => self.get(&format!("/admin/keys/{id}?{body}"), None).await?,
            (None, Some(subject)) => {
                let subject = escaped(subject.as_str());
                let operator = asked.operator;
                let path =
                    format!("/admin/keys/by-key?subject={subject}&operator={operator}&{body}");
                self.get(&path, key).await?
            }
            (None, None) => {
                return Err(
                    "--service: a service with tokens has no keys without a subject: give --subject"
                        .into(),
                );
            }
        };
        if reply.is_unknown_key() {
            return Ok(None);
        }
        reply.ok()?.json().map(Some)
    }

    /// Changes a key that has this version, or the one that it has now.
    pub(super) async fn change(
        &self,
        id: &KeyId,
        version: Option<&str>,
        change: &Change,
    ) -> Result<Changed, String> {
        let mut whole = id.to_string();
        let version = match version {
            Some(version) => version.to_owned(),
            None => {
                let reply = self.get(&format!("/admin/keys/{id}"), None).await?;
                if reply.is_unknown_key() {
                    return Ok(Outcome::NotFound.into());
                }
                let may_erase = matches!(
                    change,
                    Change::Erase {
                        even_if_unreadable: true
                    }
                ) && id.whole().is_some();
                if may_erase && reply.is_unreadable_key() {
                    UNREADABLE.to_owned()
                } else {
                    let shown: Shown = reply.ok()?.json()?;
                    whole = shown.summary.id;
                    shown.summary.version
                }
            }
        };
        let (verb, even_if_running, body) = match change {
            Change::Release { even_if_running } => ("release", *even_if_running, Vec::new()),
            Change::Erase { .. } => ("erase", false, Vec::new()),
            Change::Resolve {
                prepared,
                even_if_running,
            } => ("resolve", *even_if_running, body_of(prepared)?),
        };
        let query = if even_if_running {
            "?even_if_running=true"
        } else {
            ""
        };
        let tag = HeaderValue::try_from(format!("\"{version}\""))
            .map_err(|_| "a version is digits, as a list has them".to_owned())?;
        let path = format!("/admin/keys/{whole}/{verb}{query}");
        let fields = [(header::IF_MATCH, tag)];
        let reply = match self.send(Method::POST, &path, &fields, body).await {
            Ok(reply) => reply,
            Err(Failure {
                why,
                was_sent: true,
            }) => return Ok(unknown(&why)),
            Err(Failure { why, .. }) => return Err(why),
        };
        Ok(match reply.head.status {
            StatusCode::OK if reply.json::<Done>().is_ok_and(|done| done.result == "done") => {
                Outcome::Done.into()
            }
            StatusCode::OK => return Err("it is another program, or another version of it".into()),
            status if status.is_server_error() => unknown(&reply.refusal()),
            StatusCode::PRECONDITION_FAILED => Outcome::Changed.into(),
            StatusCode::NOT_FOUND if reply.is_unknown_key() => Outcome::NotFound.into(),
            StatusCode::CONFLICT => Changed {
                is_done: false,
                result: format!("not done: {}", reply.refusal()),
            },
            _ => Changed {
                is_done: false,
                result: format!("failed: {}", reply.refusal()),
            },
        })
    }

    /// Removes expired records, and returns how many there were.
    pub(super) async fn purge(&self) -> Result<usize, String> {
        let reply = self.send(Method::POST, "/admin/keys/purge", &[], Vec::new());
        let Removed { removed } = reply.await?.ok()?.json()?;
        Ok(removed)
    }

    async fn get(&self, path: &str, key: Option<&str>) -> Result<Reply, String> {
        let mut fields = Vec::new();
        if let Some(key) = key {
            let key = HeaderValue::try_from(key)
                .map_err(|_| "the key: it has characters that no key has".to_owned())?;
            fields.push((KEY, key));
        }
        Ok(self.send(Method::GET, path, &fields, Vec::new()).await?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Reply, Failure> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| Failure {
            why: "the service named a page that has no path".to_owned(),
            was_sent: false,
        })?;
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(self.url.authority()).expect("the address of a URL");
        headers.insert(header::HOST, host);
        headers.insert(header::AUTHORIZATION, self.token.clone());
        headers.extend(fields.iter().cloned());
        let failed = |why: &dyn fmt::Display, was_sent| Failure {
            why: format!("--service {}: {why}", self.url),
            was_sent,
        };
        let late = &"it did not respond in time";
        let connecting = TcpStream::connect((self.url.host(), self.url.port()));
        let stream = timeout(TIMEOUT, connecting)
            .await
            .map_err(|_| failed(late, false))?
            .map_err(|error| failed(&Causes(&error), false))?;
        match timeout(TIMEOUT, exchange(stream, request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(failed(&Causes(error.as_ref()), true)),
            Err(_) => Err(failed(late, true)),
        }
    }
}

/// Sends the request on a connection of its own.
async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with the response.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_REPLY).collect().await?.to_bytes();
    Ok(Reply { head, body })
}

/// A change of which it is not known whether it was made.
fn unknown(why: &str) -> Changed {
    Changed {
        is_done: false,
        result: format!("unknown, it may have been made: {why}"),
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.why
    }
}

impl Reply {
    fn ok(self) -> Result<Self, String> {
        if self.head.status == StatusCode::OK {
            return Ok(self);
        }
        Err(format!(
            "the service responded with {}: {}",
            self.head.status.as_u16(),
            self.refusal()
        ))
    }

    /// Whether the service has such a route, and no such key.
    fn is_unknown_key(&self) -> bool {
        self.head.status == StatusCode::NOT_FOUND && self.has_code("key_not_found")
    }

    fn is_unreadable_key(&self) -> bool {
        self.head.status == StatusCode::INTERNAL_SERVER_ERROR && self.has_code("key_unreadable")
    }

    fn has_code(&self, code: &str) -> bool {
        let problem = serde_json::from_slice::<Problem>(&self.body);
        problem.is_ok_and(|problem| problem.code == code)
    }

    /// Why it refused.
    fn refusal(&self) -> String {
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) if problem.code == "route_not_found" => {
                "it has no such route: either it has no --tokens, or it is another program".into()
            }
            Ok(problem) => Printable(&problem.detail).to_string(),
            Err(_) => "the response does not say why".into(),
        }
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body)
            .map_err(|_| "the service's response does not have the expected format".into())
    }
}

/// The response as JSON, for the service.
fn body_of(prepared: &Prepared) -> Result<Vec<u8>, String> {
    let body = str::from_utf8(&prepared.body)
        .map_err(|_| "--body-file: with --service, the body must be UTF-8".to_owned())?;
    let fields = prepared.headers.iter();
    let fields = fields.map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let fields = fields.collect::<Option<Vec<_>>>();
    let fields = fields.ok_or("--header: with --service, header fields must be ASCII")?;
    let body = json!({
        "status": prepared.status.as_u16(),
        "headers": fields,
        "body": body,
        "ttl_seconds": prepared.ttl.as_secs(),
    });
    Ok(body.to_string().into_bytes())
}
