//! A window as it is being fetched: one writer, any number of readers that follow it as it grows.
//!
//! Does no I/O. A chunk of it can be read while it is being filled, and stays here when it is whole, until the window
//! goes: readers may be slower than storage, and the cache need not take everything.

use std::ops::Range;

use bytes::Bytes;

use super::sync::{Arc, Mutex, MutexGuard, Notify, OnceLock, PoisonError};
use crate::backend::BackendError;
use crate::cache::{CHUNK_SIZE, Chunk, Grown};

/// A fetch that nobody waits for any more goes on where no more than this is missing: its connection to storage can be
/// used again then, which a broken one cannot.
const LITTLE: u64 = CHUNK_SIZE;

/// Some chunks of one version, as far as they are in.
#[derive(Debug)]
pub struct Window {
    /// Its bytes in the object; they begin with a chunk.
    range: Range<u64>,
    state: Mutex<State>,
    grown: Notify,
    left_alone: Notify,
    failure: Failure,
}

/// Why a window failed, if it did: for readers who hold no window between two frames.
pub type Failure = Arc<OnceLock<BackendError>>;

#[derive(Debug, Default)]
struct State {
    /// The chunks that are whole.
    chunks: Vec<Chunk>,
    /// What is in of the next one, by position in the object.
    pieces: Vec<(u64, Bytes)>,
    /// Whether storage has begun to answer.
    has_begun: bool,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Whole,
    Failed(BackendError),
    GivenUp,
}

impl State {
    /// Up to where bytes are in, of a window that begins at `start`.
    fn filled_to(&self, start: u64) -> u64 {
        match (self.pieces.last(), self.chunks.last()) {
            (Some((begin, piece)), _) => begin + piece.len() as u64,
            // All chunks but the last one of an object are of one size.
            (None, Some(last)) => start + (self.chunks.len() as u64 - 1) * CHUNK_SIZE + last.len(),
            (None, None) => start,
        }
    }

    /// The bytes from `position` on, as far as they lie in one piece.
    fn at(&self, start: u64, position: u64) -> Option<Bytes> {
        let offset = position.checked_sub(start)?;
        let number = usize::try_from(offset / CHUNK_SIZE).ok()?;
        if let Some(chunk) = self.chunks.get(number) {
            return chunk.at(offset % CHUNK_SIZE);
        }
        let index = self.pieces.partition_point(|(begin, _)| *begin <= position);
        let (begin, piece) = self.pieces.get(index.checked_sub(1)?)?;
        let within = usize::try_from(position - begin).ok()?;
        (within < piece.len()).then(|| piece.slice(within..))
    }
}

impl Window {
    /// A window in which nothing is yet.
    pub fn new(range: Range<u64>) -> Self {
        Self {
            range,
            state: Mutex::default(),
            grown: Notify::default(),
            left_alone: Notify::default(),
            failure: Failure::default(),
        }
    }

    /// Its bytes in the object.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes from `position` in the object on, as many as are at hand in one piece; waits for them where they are still to
    /// come. The error is the fetch's own. Never ask outside the window.
    pub async fn at(&self, position: u64) -> Result<Bytes, BackendError> {
        loop {
            let grown = self.grown.notified();
            {
                let state = self.state();
                if let Some(bytes) = state.at(self.range.start, position) {
                    return Ok(bytes);
                }
                match &state.end {
                    None => {}
                    Some(End::Failed(error)) => return Err(error.clone()),
                    Some(End::GivenUp) => {
                        return Err(BackendError::Unavailable("the fetch was given up".into()));
                    }
                    Some(End::Whole) => {
                        return Err(BackendError::Protocol("a read past its window".into()));
                    }
                }
            }
            grown.await;
        }
    }

    /// The chunks that are whole, from the window's beginning on.
    pub fn chunks(&self) -> Vec<Chunk> {
        self.state().chunks.clone()
    }

    /// Whether all of it is in.
    pub fn is_whole(&self) -> bool {
        matches!(self.state().end, Some(End::Whole))
    }

    /// Whether the fetch has failed: nobody new joins it.
    pub fn has_failed(&self) -> bool {
        matches!(self.state().end, Some(End::Failed(_)))
    }

    /// Whether nothing more will come, for whatever reason.
    pub fn has_ended(&self) -> bool {
        self.state().end.is_some()
    }

    /// Where its failure will stand.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// The writer's: storage has begun to answer.
    pub fn begin(&self) {
        self.state().has_begun = true;
    }

    /// The writer's: the chunk that is being filled has grown.
    pub fn grow(&self, grown: Grown) {
        let mut state = self.state();
        let chunk_start = self.range.start + state.chunks.len() as u64 * CHUNK_SIZE;
        match grown {
            Grown::All(bytes) => {
                state.pieces.clear();
                state.pieces.push((chunk_start, bytes));
            }
            Grown::More(bytes) => {
                let begin = state.filled_to(self.range.start);
                state.pieces.push((begin, bytes));
            }
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The writer's: the chunk that was being filled is whole.
    pub fn complete(&self, chunk: Chunk) {
        let pieces = {
            let mut state = self.state();
            state.chunks.push(chunk);
            std::mem::take(&mut state.pieces)
        };
        drop(pieces);
        self.grown.notify_waiters();
    }

    /// The writer's: all bytes are in.
    pub fn finish(&self) {
        self.end(End::Whole);
    }

    /// The writer's: no more bytes will come.
    pub fn fail(&self, error: BackendError) {
        let _ = self.failure.set(error.clone());
        self.end(End::Failed(error));
    }

    /// The board's: nobody waits for it any more, and nobody can join it. `false` where it has ended, or is so nearly
    /// whole that it goes on.
    pub fn give_up(&self) -> bool {
        {
            let mut state = self.state();
            let missing = self.range.end - state.filled_to(self.range.start);
            if state.end.is_some() || (state.has_begun && missing <= LITTLE) {
                return false;
            }
            state.end = Some(End::GivenUp);
        }
        self.left_alone.notify_waiters();
        true
    }

    /// The writer's: returns when the window was given up, and not before.
    pub async fn given_up(&self) {
        loop {
            let left_alone = self.left_alone.notified();
            if matches!(self.state().end, Some(End::GivenUp)) {
                return;
            }
            left_alone.await;
        }
    }

    fn end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.grown.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
