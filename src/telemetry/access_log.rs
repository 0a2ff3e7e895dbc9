//! The access log: one JSON line (RFC 8259) per request, written by a thread of its own.
//!
//! Never delays a request: where the disk or the pipe is slower than requests come, lines are dropped and counted. Never
//! holds a token, a cookie, a query or a signature: a [`Record`] has no field for a URL or a header.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc};

use super::metrics::Metrics;
use super::record::Record;

/// Lines that may wait for the writer: seconds of a busy gateway, a few megabytes at most.
const WAITING_LINES: usize = 8192;
/// How long the writer rests when nothing waits, before it looks again: what comes meanwhile is written together and wakes
/// nobody. Waking a thread for each line was a third of what an answer without a body cost. A line is late by this much
/// at most, and 8,192 fit in between at 800,000 requests a second.
const REST: Duration = Duration::from_millis(10);
/// Lines that a slow listener of [`AccessLog::subscribe`] may lag behind before it loses some.
const WAITING_FOR_LISTENERS: usize = 256;
/// How long a log's last lines may take at its end. A reader that stands still, or a disk, takes longer than any wait.
pub(super) const LAST_LINES: Duration = Duration::from_secs(2);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file that is appended to, and opened again by [`AccessLog::reopen`] after it was moved away.
    File(PathBuf),
    /// Nowhere, listeners aside.
    Off,
}

/// The log's end in a request's hands.
#[derive(Debug)]
pub struct AccessLog {
    queue: mpsc::Sender<Message>,
    listeners: broadcast::Sender<Arc<str>>,
    written: bool,
    dropped: IntCounter,
    /// To be opened again before the next line, where the queue had no place to say so.
    reopen: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Message {
    Line(Box<Record>),
    Reopen,
    Close,
}

/// The access log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The file cannot be opened.
    #[error("the access log {path} cannot be opened; its directory must exist and be writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("the access log's writer cannot be started")]
    Thread(#[source] io::Error),
}

impl AccessLog {
    /// Opens the destination and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread.
    pub fn start(destination: Destination, metrics: &Metrics) -> Result<Self, AccessLogError> {
        let written = destination != Destination::Off;
        let output = Output::open(destination)?;
        let (listeners, _) = broadcast::channel(WAITING_FOR_LISTENERS);
        let (queue, messages) = mpsc::channel(WAITING_LINES);
        let heard = listeners.clone();
        let reopen = Arc::new(AtomicBool::new(false));
        let asked = reopen.clone();
        // Its end is the queue's: the writer drops its end of it last.
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(messages, output, &heard, &asked))
            .map_err(AccessLogError::Thread)?;
        Ok(Self {
            queue,
            listeners,
            written,
            dropped: metrics.log_dropped(),
            reopen,
        })
    }

    /// Writes a line, or drops and counts it where too many wait.
    pub fn record(&self, record: Box<Record>) {
        if !self.written && self.listeners.receiver_count() == 0 {
            return;
        }
        if self.queue.try_send(Message::Line(record)).is_err() {
            self.dropped.inc();
        }
    }

    /// Hears the lines from now on, each without its line feed.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<str>> {
        self.listeners.subscribe()
    }

    /// Opens the file again after the lines that wait, or, where too many do, before some of them: call it on SIGHUP,
    /// when the file was moved away. Waits for nobody.
    pub fn reopen(&self) {
        // A queue that is closed says that the log was: there is nothing to open.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Reopen) {
            self.reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Writes what waits and ends the writer, or leaves it where it stands still. Lines that come later are dropped and
    /// counted.
    pub async fn close(&self) {
        let ended = async {
            let _ = self.queue.send(Message::Close).await;
            self.queue.closed().await;
        };
        if tokio::time::timeout(LAST_LINES, ended).await.is_err() {
            tracing::error!("the access log's last lines were lost: they are not taken");
        }
    }
}

/// The writer: flushes whenever nothing waits and then rests, so that a line is hardly late and a burst costs few writes.
fn write_all(
    mut messages: mpsc::Receiver<Message>,
    mut output: Output,
    listeners: &broadcast::Sender<Arc<str>>,
    reopen: &AtomicBool,
) {
    let mut line = Vec::with_capacity(1024);
    let mut failing = false;
    while let Some(message) = messages.blocking_recv() {
        let reopened = match reopen.swap(false, Ordering::Relaxed) {
            true => output.reopen(),
            false => Ok(()),
        };
        let result = match message {
            Message::Line(record) => {
                line.clear();
                serde_json::to_writer(&mut line, &record)
                    .map_err(io::Error::from)
                    .and_then(|()| {
                        tell(listeners, &line);
                        line.push(b'\n');
                        output.write(&line)
                    })
            }
            Message::Reopen => output.reopen(),
            Message::Close => break,
        };
        let mut result = reopened.and(result);
        if messages.is_empty() {
            result = result.and(output.flush());
        }
        // Said once per outage, not once per line.
        if let Err(error) = &result
            && !failing
        {
            tracing::error!(%error, "the access log cannot be written");
        }
        failing = result.is_err();
        if messages.is_empty() {
            std::thread::sleep(REST);
        }
    }
    if let Err(error) = output.flush() {
        tracing::error!(%error, "the access log's last lines were lost");
    }
}

fn tell(listeners: &broadcast::Sender<Arc<str>>, line: &[u8]) {
    if listeners.receiver_count() > 0
        && let Ok(line) = std::str::from_utf8(line)
    {
        // An error says that the last listener just left.
        let _ = listeners.send(line.into());
    }
}

#[derive(Debug)]
enum Output {
    Stdout(BufWriter<io::Stdout>),
    File(PathBuf, BufWriter<File>),
    Off,
}

impl Output {
    fn open(destination: Destination) -> Result<Self, AccessLogError> {
        Ok(match destination {
            Destination::Stdout => Self::Stdout(BufWriter::new(io::stdout())),
            Destination::File(path) => match append_to(&path) {
                Ok(file) => Self::File(path, BufWriter::new(file)),
                Err(source) => return Err(AccessLogError::Open { path, source }),
            },
            Destination::Off => Self::Off,
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(line),
            Self::File(_, out) => out.write_all(line),
            Self::Off => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(_, out) => out.flush(),
            Self::Off => Ok(()),
        }
    }

    /// Keeps the old file where the new one cannot be opened.
    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, out) = self {
            out.flush()?;
            *out = BufWriter::new(append_to(path)?);
        }
        Ok(())
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::telemetry::record::tests::record;

    /// A pipe that is open, and that nobody reads.
    pub(in crate::telemetry) fn unread_pipe(path: &std::path::Path) -> File {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(path).unwrap()
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_holds_up_neither_a_reopening_nor_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let _unread = unread_pipe(&path);
        let (log, _) = log_to(Destination::File(path));
        for _ in 0..WAITING_LINES + 1000 {
            log.record(Box::new(record("anna")));
        }
        log.reopen();
        let ended = tokio::time::timeout(Duration::from_secs(20), log.close()).await;
        assert!(ended.is_ok());
    }

    fn log_to(destination: Destination) -> (AccessLog, Metrics) {
        let metrics = Metrics::new().unwrap();
        (AccessLog::start(destination, &metrics).unwrap(), metrics)
    }

    #[tokio::test]
    async fn a_request_is_one_line_of_json_whatever_the_subject_is_called() {
        let hostile = [
            "a\n{\"status\":200}",
            "\u{0}\u{1b}[31m\r\n",
            "\"},{\"",
            "é\u{2028}\u{7f}",
            "",
        ];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let (log, _) = log_to(Destination::File(path.clone()));
        for subject in hostile {
            log.record(Box::new(record(subject)));
        }
        log.close().await;
        let written = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> = written
            .split_terminator('\n')
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let subjects: Vec<&str> = lines
            .iter()
            .map(|line| line["subject"].as_str().unwrap())
            .collect();
        assert_eq!(subjects, hostile);
        assert!(!written.bytes().any(|byte| byte < b' ' && byte != b'\n'));
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_opened_again_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (
            directory.path().join("access.log"),
            directory.path().join("access.log.1"),
        );
        let (log, _) = log_to(Destination::File(path.clone()));
        log.record(Box::new(record("before")));
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        log.record(Box::new(record("after")));
        log.close().await;
        assert!(std::fs::read_to_string(moved).unwrap().contains("before"));
        assert!(std::fs::read_to_string(path).unwrap().contains("after"));
    }

    #[tokio::test]
    async fn a_listener_hears_lines_even_where_none_are_written() {
        let (log, _) = log_to(Destination::Off);
        let mut listener = log.subscribe();
        log.record(Box::new(record("anna")));
        let line = listener.recv().await.unwrap();
        assert!(line.contains(r#""subject":"anna""#) && !line.contains('\n'));
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_taken_is_dropped_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (log, metrics) = log_to(Destination::File(directory.path().join("access.log")));
        log.close().await;
        log.record(Box::new(record("late")));
        assert!(
            metrics
                .render()
                .unwrap()
                .contains("lockgate_access_log_dropped_total 1")
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let metrics = Metrics::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent/access.log");
        let error = AccessLog::start(Destination::File(path.clone()), &metrics).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}
