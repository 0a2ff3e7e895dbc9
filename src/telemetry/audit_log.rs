//! The audit log: who was shown what, every denial, every change of the configuration; one JSON line (RFC 8259) each,
//! appended by a thread of its own.
//!
//! Never delays a request: what cannot be written as fast as it comes is dropped and counted, and a log that cannot be
//! written is said so in the process's log and in a metric. Never holds a token, a cookie or a signature: a [`Deed`] has
//! no field for a header or a query. What a client chose is JSON text, in which no byte can begin a line of its own.

mod anonymous;

use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus::{IntCounter, IntGauge};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use self::anonymous::Anonymous;
use super::access_log::LAST_LINES;
use super::metrics::Metrics;
use super::record::rfc3339;
use super::rotating::Rotating;
use crate::ids::{ProjectId, RequestId, StorageId, Subject, TaskId};

/// Lines that may wait for the writer: seconds of a busy gateway, some megabytes at most.
const WAITING_LINES: usize = 8192;
/// Pairs of annotator and object that a window remembers, 32 MiB of them at most. Past it all are forgotten: a line
/// written twice is better than one not written.
const MAX_SEEN: usize = 1 << 20;
/// So many bytes of what nobody known asked for are written: with 60 lines a minute some 80 MB a day, where URIs
/// of 8 KiB would make 700. The first of them say what was tried.
const MAX_ANONYMOUS_OBJECT: usize = 512;

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
        /// How many bytes `object` has in all, where only its beginning is written.
        #[serde(skip_serializing_if = "Option::is_none")]
        object_cut_from: Option<usize>,
    },
    /// So many denials of nobody known have no line of their own.
    Omitted { count: u64 },
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
    anonymous: Mutex<Anonymous>,
    dropped: IntCounter,
    /// To be opened again before the next line, where the queue had no place to say so.
    reopen: Arc<AtomicBool>,
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
        let reopen = Arc::new(AtomicBool::new(false));
        let (lost, asked) = (dropped.clone(), reopen.clone());
        // Its end is the queue's: the writer drops its end of it last.
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(messages, file, &lost, &writable, &asked))
            .map_err(AuditLogError::Thread)?;
        Ok(Self(Some(Open {
            queue,
            window: config.window,
            seen: Mutex::new(Seen {
                since: Instant::now(),
                pairs: HashSet::new(),
            }),
            hashers: [RandomState::new(), RandomState::new()],
            anonymous: Mutex::new(Anonymous::since(Instant::now())),
            dropped,
            reopen,
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

    /// Somebody was refused, or cut off; `reason` in the words of the metrics' labels. Of nobody known not every one
    /// is written: whoever has no credential could fill the log, and push out of it who was shown what.
    pub fn denied(&self, reason: &'static str, deed: impl FnOnce() -> Deed) {
        let Some(open) = &self.0 else { return };
        let mut deed = deed();
        let mut object_cut_from = None;
        if deed.subject.is_none() {
            if !open.anonymous().admit(Instant::now()) {
                return;
            }
            object_cut_from = deed.object.as_mut().and_then(cut);
        }
        open.send(Event::Denied {
            reason,
            deed,
            object_cut_from,
        });
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

    /// Opens the file again after the lines that wait, or, where too many do, before some of them: call it on SIGHUP,
    /// when the file was moved away. Waits for nobody.
    pub fn reopen(&self) {
        // A queue that is closed says that the log was: there is nothing to open.
        if let Some(open) = &self.0
            && let Err(TrySendError::Full(_)) = open.queue.try_send(Message::Reopen)
        {
            open.reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Writes what waits to the disk itself and ends the writer, or leaves it where it stands still. Lines that come
    /// later are dropped and counted.
    pub async fn close(&self) {
        let Some(open) = &self.0 else { return };
        let omitted = open.anonymous().take_all();
        open.say_omitted(omitted);
        let ended = async {
            let _ = open.queue.send(Message::Close).await;
            open.queue.closed().await;
        };
        if tokio::time::timeout(LAST_LINES, ended).await.is_err() {
            tracing::error!("the audit log's last lines were lost: they are not taken");
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

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn anonymous(&self) -> MutexGuard<'_, Anonymous> {
        let anonymous = self.anonymous.lock();
        anonymous.unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, after what a minute that is over has left out.
    fn send(&self, event: Event) -> bool {
        let omitted = self.anonymous().take_past(Instant::now());
        self.say_omitted(omitted);
        self.enqueue(event)
    }

    fn say_omitted(&self, count: u64) {
        if count > 0 && !self.enqueue(Event::Omitted { count }) {
            self.anonymous().put_back(count);
        }
    }

    fn enqueue(&self, event: Event) -> bool {
        let line = Message::Line(SystemTime::now(), Box::new(event));
        let sent = self.queue.try_send(line).is_ok();
        if !sent {
            self.dropped.inc();
        }
        sent
    }
}

/// Leaves the beginning of what is too long, and gives what its length was.
fn cut(object: &mut String) -> Option<usize> {
    let length = object.len();
    object.truncate(object.floor_char_boundary(MAX_ANONYMOUS_OBJECT));
    (object.len() < length).then_some(length)
}

/// The writer: hands lines to the system whenever nothing waits, so that a line is never late.
fn write_all(
    mut messages: mpsc::Receiver<Message>,
    mut file: Rotating,
    dropped: &IntCounter,
    writable: &IntGauge,
    reopen: &AtomicBool,
) {
    while let Some(message) = messages.blocking_recv() {
        let reopened = match reopen.swap(false, Ordering::Relaxed) {
            true => file.reopen(),
            false => Ok(()),
        };
        let result = match message {
            Message::Line(time, event) => write(&mut file, time, &event, dropped),
            Message::Reopen => file.reopen(),
            Message::Close => break,
        };
        let mut result = reopened.and(result);
        if messages.is_empty() {
            result = result.and(file.flush());
        }
        say(&result, writable);
    }
    say(&file.sync(), writable);
}

/// Writes a line. One that went into a file that could not be put aside is written all the same.
fn write(
    file: &mut Rotating,
    time: SystemTime,
    event: &Event,
    dropped: &IntCounter,
) -> io::Result<()> {
    let line = serde_json::to_string(&Line { time, event }).map(|line| in_one_line(&line));
    let (rotated, written) = match line {
        Ok(line) => (file.make_room(line.len()), file.write(line.as_bytes())),
        Err(error) => (Ok(()), Err(error.into())),
    };
    if written.is_err() {
        dropped.inc();
    }
    rotated.and(written)
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
