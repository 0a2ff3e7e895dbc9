//! What a test can see of the embedded S3 server's requests, and do to them: gates, latency, faults.
//!
//! Sits behind the signature check: a request that is not signed is neither recorded nor held, and is refused.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use http::header::CONNECTION;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{HttpError, HttpResponse, S3Error, S3ErrorCode, S3Result, s3_error};
use tokio::sync::watch;

/// How many requests are remembered; past it the older half is forgotten.
const REMEMBERED_REQUESTS: usize = 20_000;

/// One signed request, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// S3's name of the operation, `GetObject` for one.
    pub operation: String,
    /// The bucket; empty where none was named.
    pub bucket: String,
    /// The key, decoded; empty where none was named.
    pub key: String,
    /// The `Range` field as sent.
    pub range: Option<String>,
    /// Whether the signature stood in the URL.
    pub presigned: bool,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status and S3 error code instead of an answer, `(503, "SlowDown")` for one.
    Status(u16, &'static str),
    /// The connection breaks after this many bytes of the body.
    CutBody(u64),
    /// The connection breaks before the head.
    NoAnswer,
}

/// For the operation: break the body after this many bytes.
#[derive(Clone, Copy)]
pub(super) struct CutBody(pub(super) u64);

/// The state of gates, latencies and faults.
pub(super) struct Control {
    session_tokens: HashMap<String, String>,
    pub(super) requests: watch::Sender<Vec<Recorded>>,
    /// Whether requests pass before they are answered.
    pub(super) heads_open: watch::Sender<bool>,
    /// How many bytes each body may send for now.
    pub(super) body_allowance: watch::Sender<u64>,
    /// How many bytes all bodies have sent.
    pub(super) bytes_sent: watch::Sender<u64>,
    latency: Mutex<(Duration, Duration)>,
    faults: Mutex<VecDeque<Fault>>,
}

impl Control {
    /// `session_tokens`: the token that requests with an access key must carry, by the key's id.
    pub(super) fn new(session_tokens: HashMap<String, String>) -> Self {
        Self {
            session_tokens,
            requests: watch::Sender::new(Vec::new()),
            heads_open: watch::Sender::new(true),
            body_allowance: watch::Sender::new(u64::MAX),
            bytes_sent: watch::Sender::new(0),
            latency: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub(super) fn set_latency(&self, head: Duration, piece: Duration) {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner) = (head, piece);
    }

    pub(super) fn push_faults(&self, count: usize, fault: Fault) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.extend(std::iter::repeat_n(fault, count));
    }

    /// Waits until a body that has sent `sent` bytes may send more; how many in all.
    pub(super) async fn piece_allowed(&self, sent: u64) -> u64 {
        let piece = self
            .latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1;
        if !piece.is_zero() {
            tokio::time::sleep(piece).await;
        }
        let mut allowance = self.body_allowance.subscribe();
        let allowed = allowance.wait_for(|allowed| *allowed > sent).await;
        allowed.map_or(u64::MAX, |allowed| *allowed)
    }

    async fn head_allowed(&self) {
        let head = self
            .latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        if !head.is_zero() {
            tokio::time::sleep(head).await;
        }
        // An error says that the sender is gone, and with it the gate.
        let _ = self.heads_open.subscribe().wait_for(|open| *open).await;
    }

    fn next_fault(&self) -> Option<Fault> {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn record(&self, cx: &S3AccessContext<'_>) {
        let recorded = Recorded {
            operation: cx.s3_op().name().to_owned(),
            bucket: cx
                .s3_path()
                .get_bucket_name()
                .unwrap_or_default()
                .to_owned(),
            key: cx.s3_path().get_object_key().unwrap_or_default().to_owned(),
            range: header(cx, "range").map(str::to_owned),
            presigned: cx
                .uri()
                .query()
                .is_some_and(|query| query.contains("X-Amz-Signature=")),
        };
        self.requests.send_modify(|requests| {
            if requests.len() >= REMEMBERED_REQUESTS {
                requests.drain(..REMEMBERED_REQUESTS / 2);
            }
            requests.push(recorded);
        });
    }

    fn check_session_token(&self, cx: &S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        };
        let expected = self
            .session_tokens
            .get(&credentials.access_key)
            .map(String::as_str);
        let in_query = cx.uri().query().and_then(|query| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs
                .find(|(name, _)| name == "X-Amz-Security-Token")
                .map(|(_, value)| value.into_owned())
        });
        match header(cx, "x-amz-security-token").or(in_query.as_deref()) == expected {
            true => Ok(()),
            false => Err(s3_error!(
                InvalidToken,
                "The provided token is malformed or otherwise invalid."
            )),
        }
    }
}

/// The hooks as s3s calls them, once the signature was verified.
pub(super) struct Hooks(pub(super) std::sync::Arc<Control>);

#[async_trait::async_trait]
impl S3Access for Hooks {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        self.0.check_session_token(cx)?;
        self.0.record(cx);
        let fault = self.0.next_fault();
        self.0.head_allowed().await;
        match fault {
            None => Ok(()),
            Some(Fault::Status(status, code)) => {
                let code =
                    S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
                let mut error = S3Error::with_message(code, "as the test asked for");
                if let Ok(status) = http::StatusCode::from_u16(status) {
                    error.set_status_code(status);
                }
                Err(error)
            }
            Some(Fault::NoAnswer) => Err(no_answer()),
            Some(Fault::CutBody(after)) => {
                cx.extensions_mut().insert(CutBody(after));
                Ok(())
            }
        }
    }
}

fn header<'a>(cx: &'a S3AccessContext<'_>, name: &str) -> Option<&'a str> {
    cx.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Marks the answer that is not to be sent: s3s makes an answer of every error, with the headers it carries.
const NO_ANSWER: &str = "no-answer";

fn no_answer() -> S3Error {
    let mut error = s3_error!(InternalError);
    error.set_headers(
        [(CONNECTION, HeaderValue::from_static(NO_ANSWER))]
            .into_iter()
            .collect(),
    );
    error
}

/// Turns the marked answer into an error of the service, which breaks the connection.
pub(super) fn answer(answered: Result<HttpResponse, HttpError>) -> Result<HttpResponse, HttpError> {
    let response = answered?;
    match response
        .headers()
        .get(CONNECTION)
        .is_some_and(|value| value == NO_ANSWER)
    {
        true => Err(HttpError::new(Box::new(io::Error::from(
            io::ErrorKind::ConnectionAborted,
        )))),
        false => Ok(response),
    }
}
