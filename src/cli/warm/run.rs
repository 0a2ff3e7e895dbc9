//! The run: so many objects at once, each as often as the pace allows, and a report of what came of them.
//!
//! Owns every request that it makes: whoever drops the run, drops them. What fails alone is listed, the rest goes on;
//! what would fail for all stops it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use tokio::time::{Instant, interval};

use super::Credential;
use super::fetch::{Failure, Gateway, Read};
use super::pace::{MAX_TRIES, Pace};
use super::progress::{Part, Progress, traffic};
use super::state::State;
use crate::cli::{CliError, in_words, printable};

/// So many failures are lines; more have a common cause, and `--json` has all of them.
const FAILURES_SHOWN: usize = 50;

/// What came of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Objects that there were to read.
    objects: u64,
    /// Objects read to their end.
    read: usize,
    /// Objects that are as an earlier run read them.
    unchanged: usize,
    /// Objects whose storage hands out URLs: there is nothing to keep.
    redirected: usize,
    /// Bytes that came.
    bytes: u64,
    /// How long it took.
    seconds: f64,
    /// Objects that were not read.
    failed: Vec<Failed>,
    /// Why it ended before its end.
    stopped: Option<String>,
}

#[derive(Debug, Serialize)]
struct Failed {
    uri: String,
    reason: String,
}

impl Report {
    /// Whether all was read or need not be.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.stopped.is_none()
    }

    fn add(&mut self, uri: String, done: Result<Read, String>) {
        match done {
            Ok(Read::Whole { .. }) => self.read += 1,
            Ok(Read::Unchanged) => self.unchanged += 1,
            Ok(Read::Redirected) => self.redirected += 1,
            Err(reason) => self.failed.push(Failed { uri, reason }),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = std::time::Duration::from_secs_f64(self.seconds);
        let (traffic, elapsed_words) = (traffic(self.bytes, elapsed), in_words(elapsed));
        writeln!(
            f,
            "read {} of {} objects: {traffic}, in {elapsed_words}",
            self.read, self.objects
        )?;
        if self.unchanged > 0 {
            writeln!(
                f,
                "{} are as they were read before, and were not read again",
                self.unchanged
            )?;
        }
        if self.redirected > 0 {
            writeln!(
                f,
                "{} are redirected to storage: there is nothing to keep",
                self.redirected
            )?;
        }
        for Failed { uri, reason } in self.failed.iter().take(FAILURES_SHOWN) {
            writeln!(f, "failed: {}: {reason}", printable(uri))?;
        }
        if let Some(more) = self
            .failed
            .len()
            .checked_sub(FAILURES_SHOWN)
            .filter(|more| *more > 0)
        {
            writeln!(f, "and {more} more; --json lists them all")?;
        }
        match &self.stopped {
            Some(why) => writeln!(f, "stopped: {why}"),
            None => Ok(()),
        }
    }
}

/// How one object ended: done, or not; or the whole run has to.
enum End {
    Object(Result<Read, String>),
    All(String),
}

/// A run of `warm`.
pub struct Warming<'a> {
    gateway: &'a Gateway,
    credential: &'a Credential,
    progress: &'a Progress,
    pace: Pace,
    state: Mutex<Option<State>>,
}

impl<'a> Warming<'a> {
    /// With what an earlier one left, where that was noted.
    pub fn new(
        gateway: &'a Gateway,
        credential: &'a Credential,
        progress: &'a Progress,
        state: Option<State>,
    ) -> Self {
        Self {
            gateway,
            credential,
            progress,
            pace: Pace::new(Instant::now()),
            state: Mutex::new(state),
        }
    }

    /// Reads all of it, `objects` in number, until an interrupt. A mistake among the media ends the run.
    pub async fn run(
        &self,
        objects: u64,
        media: impl Stream<Item = Result<String, CliError>>,
        concurrency: usize,
    ) -> Report {
        let mut report = Report {
            objects,
            ..Report::default()
        };
        let reading = media.map(|uri| async {
            match uri {
                Ok(uri) => {
                    let end = self.object(&uri).await;
                    (uri, end)
                }
                Err(error) => (String::new(), End::All(error.to_string())),
            }
        });
        let mut reading = std::pin::pin!(reading.buffer_unordered(concurrency));
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let mut shown = interval(self.progress.interval());
        // The first tick is at once, when there is nothing to show.
        shown.tick().await;
        report.stopped = loop {
            tokio::select! {
                next = reading.next() => match next {
                    None => break None,
                    Some((_, End::All(why))) => break Some(why),
                    Some((uri, End::Object(done))) => report.add(uri, done),
                },
                _ = shown.tick() => self.progress.show(),
                _ = &mut interrupted => break Some("interrupted".to_owned()),
            }
        };
        report.bytes = self.progress.bytes();
        report.seconds = self.progress.elapsed().as_secs_f64();
        report
    }

    /// One object, asked for again while that may help.
    async fn object(&self, uri: &str) -> End {
        self.pace.begin();
        let known = self
            .with_state(|state| state.etag(uri).map(str::to_owned))
            .flatten();
        let mut part = Part::of(self.progress);
        let mut tries = 0;
        let end = loop {
            self.pace.turn().await;
            let authorization = match self.credential.authorization() {
                Ok(authorization) => authorization,
                Err(error) => break End::All(error.to_string()),
            };
            let read = self
                .gateway
                .read(uri, known.as_deref(), &authorization, &mut part);
            tries += 1;
            match read.await {
                Ok(read) => break self.note(uri, read),
                Err(Failure::Object(said)) => break End::Object(Err(said)),
                Err(Failure::All(said)) => break End::All(said),
                Err(Failure::Later { said, after }) => {
                    part.again();
                    if !self.pace.again(tries, after) {
                        break End::All(format!("{said}, too often; the rest can be read later"));
                    }
                    if tries >= MAX_TRIES {
                        break End::Object(Err(said));
                    }
                }
            }
        };
        part.over();
        end
    }

    /// Notes what was read. A record that cannot be written ends the run: it would promise what it does not hold.
    fn note(&self, uri: &str, read: Read) -> End {
        if let Read::Whole {
            etag: Some(etag),
            bytes,
        } = &read
        {
            let noted = self.with_state(|state| state.finished(uri, etag, *bytes));
            if let Some(Err(error)) = noted {
                return End::All(format!("the state file cannot be written: {error}"));
            }
        }
        End::Object(Ok(read))
    }

    fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_mut().map(look)
    }
}
