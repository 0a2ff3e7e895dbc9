//! The audit log: who was shown what, every denial, every change of the configuration; one JSON line (RFC 8259) each,
//! appended by a thread of its own.
//!
//! Never delays a request: what cannot be written as fast as it comes is dropped and counted, and a log that cannot be
//! written is said so in the process's log and in a metric. Never holds a token, a cookie or a signature: a [`Deed`] has
//! no field for a header or a query. What a client chose is JSON text, in which no byte can begin a line of its own.

use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use prometheus::{IntCounter, IntGauge};
use serde::Serialize;
use tokio::sync::mpsc;

use super::metrics::Metrics;
use super::record::rfc3339;
use super::rotating::Rotating;
use crate::ids::{ProjectId, RequestId, StorageId, Subject, TaskId};

/// Lines that may wait for the writer: seconds of a busy gateway, some megabytes at most.
const WAITING_LINES: usize = 8192;
/// Pairs of annotator and object that a window remembers, 32 MiB of them at most. Past it all are forgotten: a line
/// written twice is better than one not written.
const MAX_SEEN: usize = 1 << 20;

/// `log.audit` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file; those before it are beside it, with `.1`, `.2`, … after its name.
    pub path: PathBuf,
    /// An annotator who is shown the same object again within it makes no line of their own.
    pub window: Duration,
    /// At this many bytes the file is put aside and a new one begun.
    pub max_size: u64,
    /// How many files that were put aside are kept, at least 1.
    pub keep: u32,
}

/// A request, as far as the audit log is concerned.
#[derive(Clone, Debug, Serialize)]
pub struct Deed {
    /// The request.
    pub request_id: RequestId,
    /// Who; none: nobody known.
    pub subject: Option<Subject>,
    /// The project it was permitted through, or asked for.
    pub project: Option<ProjectId>,
    /// The task asked for.
    pub task: Option<TaskId>,
    /// The storage that holds it, where it came so far.
    pub storage: Option<StorageId>,
    /// The media URI asked for; none: the request named none.
    pub object: Option<String>,
    /// The answer's status. Of a body that was cut: what had been sent before.
    pub status: u16,
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    /// They were shown it, or handed a URL to it; once a window.
    Shown(Deed),
    /// They were not, or no longer.
    Denied {
        reason: &'static str,
        #[serde(flatten)]
        deed: Deed,
    },
    /// A file that decides who may see what was read.
    Configuration {
        file: String,
        /// Of what was read, hexadecimal; none: it could not be.
        sha256: Option<String>,
        /// Whether it is in force.
        taken: bool,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "rfc3339")]
    time: SystemTime,
    #[serde(flatten)]
    event: &'a Event,
}

/// The log's end in a request's hands.
#[derive(Debug)]
pub struct AuditLog(Option<Open>);

#[derive(Debug)]
struct Open {
    queue: mpsc::Sender<Message>,
    window: Duration,
    seen: Mutex<Seen>,
    hashers: [RandomState; 2],
    dropped: IntCounter,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Who was shown what in the present window.
#[derive(Debug)]
struct Seen {
    since: Instant,
    pairs: HashSet<u128>,
}

#[derive(Debug)]
enum Message {
    Line(SystemTime, Box<Event>),
    Reopen,
    Close,
}

/// The audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// The file cannot be opened.
    #[error("the audit log {path} cannot be opened; its directory must exist and be writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("the audit log's writer cannot be started")]
    Thread(#[source] io::Error),
}

impl AuditLog {
    /// Opens the file and starts the writer; without a configuration nothing is ever written.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread.
    pub fn start(config: Option<&AuditConfig>, metrics: &Metrics) -> Result<Self, AuditLogError> {
        let Some(config) = config else {
            return Ok(Self(None));
        };
        let file = Rotating::open(config).map_err(|source| AuditLogError::Open {
            path: config.path.clone(),
            source,
        })?;
        let (queue, messages) = mpsc::channel(WAITING_LINES);
        let (dropped, writable) = metrics.audit_log();
        let lost = dropped.clone();
        let writer = std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(messages, file, &lost, &writable))
            .map_err(AuditLogError::Thread)?;
        Ok(Self(Some(Open {
            queue,
            window: config.window,
            seen: Mutex::new(Seen {
                since: Instant::now(),
                pairs: HashSet::new(),
            }),
            hashers: [RandomState::new(), RandomState::new()],
            dropped,
            writer: Mutex::new(Some(writer)),
        })))
    }

    /// Somebody was shown an object, or handed a URL to it.
    pub fn shown(&self, deed: impl FnOnce() -> Deed) {
        let Some(open) = &self.0 else { return };
        let deed = deed();
        let pair = open.pair(&deed);
        if open.first(pair) && !open.send(Event::Shown(deed)) {
            // What was not written was not seen: the next time is written.
            open.seen().pairs.remove(&pair);
        }
    }

    /// Somebody was refused, or cut off; `reason` in the words of the metrics' labels.
    pub fn denied(&self, reason: &'static str, deed: impl FnOnce() -> Deed) {
        if let Some(open) = &self.0 {
            let deed = deed();
            open.send(Event::Denied { reason, deed });
        }
    }

    /// A file of the configuration was read; `sha256` of what stood in it.
    pub fn configuration(&self, file: String, sha256: Option<String>, taken: bool) {
        if let Some(open) = &self.0 {
            open.send(Event::Configuration {
                file,
                sha256,
                taken,
            });
        }
    }

    /// Whether anything is written: what costs something to find out need not be found out otherwise.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Opens the file again after the lines that wait: call it on SIGHUP, when the file was moved away.
    pub async fn reopen(&self) {
        if let Some(open) = &self.0 {
            // An error says that the log was closed: there is nothing to open.
            let _ = open.queue.send(Message::Reopen).await;
        }
    }

    /// Writes what waits to the disk itself and ends the writer. Lines that come later are dropped and counted.
    pub async fn close(&self) {
        let Some(open) = &self.0 else { return };
        let _ = open.queue.send(Message::Close).await;
        let writer = open.writer.lock();
        let writer = writer.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

impl Open {
    /// 128 bits under keys that nobody knows: two pairs that share them would cost a line.
    fn pair(&self, deed: &Deed) -> u128 {
        let pair = (&deed.subject, &deed.storage, &deed.object);
        let [high, low] = [0, 1].map(|half: usize| u128::from(self.hashers[half].hash_one(pair)));
        high << 64 | low
    }

    /// Whether this is the pair's first time in the present window.
    fn first(&self, pair: u128) -> bool {
        let mut seen = self.seen();
        if seen.since.elapsed() >= self.window || seen.pairs.len() >= MAX_SEEN {
            seen.since = Instant::now();
            seen.pairs.clear();
        }
        seen.pairs.insert(pair)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, event: Event) -> bool {
        let line = Message::Line(SystemTime::now(), Box::new(event));
        let sent = self.queue.try_send(line).is_ok();
        if !sent {
            self.dropped.inc();
        }
        sent
    }
}

/// The writer: hands lines to the system whenever nothing waits, so that a line is never late.
fn write_all(
    mut messages: mpsc::Receiver<Message>,
    mut file: Rotating,
    dropped: &IntCounter,
    writable: &IntGauge,
) {
    while let Some(message) = messages.blocking_recv() {
        let mut result = match message {
            Message::Line(time, event) => {
                let event = &*event;
                let written = serde_json::to_string(&Line { time, event })
                    .map_err(io::Error::from)
                    .and_then(|line| file.write(in_one_line(&line).as_bytes()));
                if written.is_err() {
                    dropped.inc();
                }
                written
            }
            Message::Reopen => file.reopen(),
            Message::Close => break,
        };
        if messages.is_empty() {
            result = result.and(file.flush());
        }
        say(&result, writable);
    }
    say(&file.sync(), writable);
}

/// JSON escapes only what is below a space (RFC 8259 §7). What else a terminal obeys or a pager breaks a line at is
/// escaped here: the controls of ISO 6429 above ASCII, the separators, and what turns the direction of writing.
fn in_one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        let obeyed = matches!(character, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if obeyed {
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Says once per outage, not once per line, and once that it is over.
fn say(result: &io::Result<()>, writable: &IntGauge) {
    match result {
        Err(error) if writable.get() == 1 => {
            tracing::error!(%error, "the audit log cannot be written");
        }
        Ok(()) if writable.get() == 0 => tracing::info!("the audit log is written again"),
        Ok(()) | Err(_) => {}
    }
    writable.set(i64::from(result.is_ok()));
}

#[cfg(test)]
#[path = "audit_log/tests.rs"]
mod tests;
