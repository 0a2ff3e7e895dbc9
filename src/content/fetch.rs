//! Fills one window from storage: pinned to its version, checked, and taken up again where storage breaks off.
//!
//! Frames are copied into the memory that chunks are kept in as they arrive, so that the buffer they were received in is
//! used for the next. Ends when the window is whole, when three tries have failed, or when nobody waits any more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::lower::Lower;
use super::outage::Outage;
use super::plan;
use super::slots::Slots;
use super::window::Window;
use super::windows::Windows;
use crate::backend::retry::{MAX_TRIES, Tries, pause};
use crate::backend::{Backend, BackendError, ByteStream, Call, Condition, Conditional, Fetched};
use crate::cache::{CHUNK_SIZE, Chunk, ChunkKey, ChunkStore, Growing};
use crate::object::{ObjectMeta, ObjectVersion};
use crate::telemetry::TraceContext;

/// An answer that is there already.
pub struct Begun {
    /// The answer.
    pub fetched: Fetched,
    /// How often it was asked for.
    pub tries: Tries,
    /// Held until the body is in.
    pub _slot: OwnedSemaphorePermit,
}

/// One window to fill.
pub struct Fetch {
    /// Where from.
    pub backend: Arc<dyn Backend>,
    /// How many fetches this storage may have under way.
    pub slots: Slots,
    /// Told of what storage answers.
    pub outage: Outage,
    /// Of which version.
    pub version: Arc<ObjectVersion>,
    /// The object's metadata in this version.
    pub meta: Arc<ObjectMeta>,
    /// Passed on to storage.
    pub trace: Option<TraceContext>,
    /// Where chunks are kept.
    pub chunks: Arc<dyn ChunkStore>,
    /// Where they are looked for before storage is asked, and kept, too.
    pub lower: Lower,
    /// Held while it counts as read ahead, if it does.
    pub _ahead: Option<OwnedSemaphorePermit>,
}

/// Fails its window when it goes before the window has ended: no reader waits for a fetch that is no more.
pub struct Filling {
    version: Arc<ObjectVersion>,
    window: Arc<Window>,
    windows: Arc<Windows>,
}

impl Filling {
    /// Takes on the duty to fill a window.
    pub fn new(version: Arc<ObjectVersion>, window: Arc<Window>, windows: Arc<Windows>) -> Self {
        Self {
            version,
            window,
            windows,
        }
    }

    fn fail(&self, error: BackendError) {
        self.window.fail(error);
        self.windows.failed(&self.version, &self.window);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.window.has_ended() {
            self.fail(BackendError::Unavailable("the fetch was given up".into()));
        }
    }
}

/// Where bytes from storage go: into the chunk that is being filled, and then the next.
struct Writer<'a> {
    window: &'a Window,
    chunks: &'a dyn ChunkStore,
    growing: Option<Growing>,
    position: u64,
    below: &'a Below,
}

/// Which chunks of a window came from the tier below: for these storage has not vouched again.
#[derive(Default)]
struct Below(AtomicU32);

// One bit for each.
const _: () = assert!(plan::WINDOW_SIZE / CHUNK_SIZE <= u32::BITS as u64);

impl Below {
    fn add(&self, number: u64) {
        self.0.fetch_or(1 << number, Ordering::Relaxed);
    }

    fn has(&self, number: u64) -> bool {
        self.0.load(Ordering::Relaxed) & 1 << number != 0
    }
}

impl Writer<'_> {
    /// Takes a frame in; what is past the window's end is let go.
    fn push(&mut self, mut frame: bytes::Bytes) {
        let end = self.window.range().end;
        while !frame.is_empty() && self.position < end {
            let chunk_end = plan::chunk_range(plan::chunk_index(self.position), end).end;
            let growing = self
                .growing
                .get_or_insert_with(|| self.chunks.begin((chunk_end - self.position) as usize));
            let piece = frame.split_to(frame.len().min(growing.room()));
            self.position += piece.len() as u64;
            let grown = growing.push(piece);
            match self.growing.take_if(|growing| growing.room() == 0) {
                Some(whole) => self.window.complete(whole.finish()),
                None => self.window.grow(grown),
            }
        }
    }

    /// The chunk that comes next, where nothing of it is in yet.
    fn chunk(&self) -> Option<u64> {
        self.growing
            .is_none()
            .then(|| plan::chunk_index(self.position))
    }

    /// Takes in the chunk that comes next, whole; `false` where it is not as long as it must be.
    fn take(&mut self, chunk: Chunk) -> bool {
        let window = self.window.range();
        let index = plan::chunk_index(self.position);
        let range = plan::chunk_range(index, window.end);
        if chunk.len() != range.end - range.start {
            return false;
        }
        self.below.add(index - plan::chunk_index(window.start));
        self.position = range.end;
        self.window.complete(chunk);
        true
    }

    fn is_done(&self) -> bool {
        self.position == self.window.range().end
    }
}

impl Fetch {
    /// Fetches until the window is whole, three tries have failed, or nobody waits any more. `first` is an answer that is
    /// there already.
    pub async fn run(self, filling: Filling, first: Option<Begun>) {
        let window = &filling.window;
        let begun_at = SystemTime::now();
        let below = Below::default();
        let outcome = tokio::select! {
            biased;
            () = window.given_up() => None,
            outcome = self.fill(window, first, &below) => Some(outcome),
        };
        self.keep(window, &outcome, begun_at, &below);
        match outcome {
            Some(Ok(())) => {
                window.finish();
                filling.windows.finished(self.version, window);
            }
            Some(Err(error)) => filling.fail(error),
            None => tracing::debug!("a window that nobody waits for any more was given up"),
        }
    }

    /// Puts the chunks that are whole where others find them, however their window ended: they are of this version.
    /// Only what storage itself takes back (a checksum that does not hold) is not kept. Until now readers found them in
    /// the window, which is on the board. What storage vouched for since `begun_at` is offered to the tier below, too.
    fn keep(
        &self,
        window: &Window,
        outcome: &Option<Result<(), BackendError>>,
        begun_at: SystemTime,
        below: &Below,
    ) {
        if matches!(outcome, Some(Err(BackendError::Protocol(_)))) {
            return;
        }
        let first = plan::chunk_index(window.range().start);
        for (number, chunk) in (0..).zip(window.chunks()) {
            let key = self.key(first + number);
            if !below.has(number) {
                self.lower.keep(&key, &chunk, &self.meta, begun_at);
            }
            self.chunks.put(key, chunk);
        }
    }

    /// Fills what is missing of the window: from the tier below chunk by chunk as long as that has them, then from
    /// storage.
    async fn fill(
        &self,
        window: &Window,
        first: Option<Begun>,
        below: &Below,
    ) -> Result<(), BackendError> {
        let mut tries = first
            .as_ref()
            .map_or_else(Tries::default, |first| first.tries.clone());
        let mut answer = first;
        let mut writer = Writer {
            window,
            chunks: &*self.chunks,
            growing: None,
            position: window.range().start,
            below,
        };
        while !writer.is_done() {
            if answer.is_none()
                && let Some(index) = writer.chunk()
                && let Some(chunk) = self.lower.read(&self.key(index), &self.chunks).await
                && writer.take(chunk)
            {
                continue;
            }
            let missing = writer.position..self.end_of_run(&writer);
            let (has_begun, asked) = (answer.is_some(), tries.count());
            let attempt = self
                .bring(missing, answer.take(), &tries, &mut writer)
                .await;
            match attempt {
                // What came whole is no try of what comes next.
                Ok(()) => tries = Tries::default(),
                // All bytes are in: how the connection ended is of no interest.
                Err(error) if error.is_transient() && writer.is_done() => {}
                // What was not even asked, for want of a turn or of budget, is not asked again.
                Err(error)
                    if error.is_transient()
                        && tries.count() < MAX_TRIES
                        && (has_begun || tries.count() > asked) =>
                {
                    let tries = tries.count();
                    tracing::debug!(%error, tries, "taking up a window where storage broke off");
                    pause(tries).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Brings bytes from storage, from the answer that is there or by asking for what is missing.
    async fn bring(
        &self,
        missing: Range<u64>,
        answer: Option<Begun>,
        tries: &Tries,
        writer: &mut Writer<'_>,
    ) -> Result<(), BackendError> {
        let Some(Begun { fetched, _slot, .. }) = answer else {
            // Who no longer waits gives the window up, and this turn with it.
            let slot = self.slots.take(|| true).await?;
            // The backend tries as often as is left to try.
            let fetched = self.ask(missing, tries).await;
            self.outage.heard(&fetched);
            let poured = pour(fetched?, writer).await;
            drop(slot);
            return poured;
        };
        pour(fetched, writer).await
    }

    /// Up to where storage is asked: the tier below may have what comes after a chunk that it lost.
    fn end_of_run(&self, writer: &Writer<'_>) -> u64 {
        let end = writer.window.range().end;
        let next = plan::chunk_index(writer.position) + 1..plan::chunk_index(end - 1) + 1;
        let below = next
            .into_iter()
            .find(|index| self.lower.has(&self.key(*index)));
        below.map_or(end, |index| plan::chunk_range(index, end).start)
    }

    fn key(&self, index: u64) -> ChunkKey {
        ChunkKey {
            version: self.version.clone(),
            index,
        }
    }

    /// A range of this version or none.
    async fn ask(&self, asked: Range<u64>, tries: &Tries) -> Result<Fetched, BackendError> {
        let version = &self.version;
        let call = Call {
            trace: self.trace,
            tries: tries.clone(),
            ..Call::about(&version.location)
        }
        .on(Condition::IfMatch(version.etag.clone()));
        let fetched = match self.backend.get(call, asked.clone()).await {
            Ok(Conditional::Is(fetched)) => fetched,
            Ok(Conditional::NotModified) => {
                return Err(BackendError::Protocol("a 304 to If-Match".into()));
            }
            // The window lies within this version, so what ends before it is another one.
            Err(BackendError::RangeNotSatisfiable) => return Err(BackendError::Changed),
            Err(error) => return Err(error),
        };
        // Some stores ignore If-Match: what came back must say itself that it is this version. One that is coded
        // otherwise has other bytes, whatever its tag.
        let same = fetched.meta.etag == version.etag
            && fetched.meta.complete_length == self.meta.complete_length
            && fetched.meta.content_encoding == self.meta.content_encoding;
        if !same || fetched.range != asked {
            Err(BackendError::Changed)
        } else {
            Ok(fetched)
        }
    }
}

/// To the end of the body: what comes last may say that the bytes before it were wrong. One that is longer than the
/// window, because another one was begun meanwhile, is broken off.
async fn pour(fetched: Fetched, writer: &mut Writer<'_>) -> Result<(), BackendError> {
    let is_longer = fetched.range.end > writer.window.range().end;
    let mut body: ByteStream = fetched.body;
    writer.window.begin();
    while let Some(frame) = body.next().await {
        writer.push(frame?);
        if is_longer && writer.is_done() {
            break;
        }
    }
    Ok(())
}
