//! A window as it is being fetched: one writer, any number of readers that follow it as it grows.
//!
//! Does no I/O. Frames are handed on as they were received; when the last one is in they are gathered to a [`Chunk`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::sync::{Mutex, MutexGuard, Notify, PoisonError};
use crate::backend::BackendError;
use crate::cache::Chunk;

/// The bytes of a window so far.
#[derive(Debug, Default)]
pub struct Window {
    state: Mutex<State>,
    grown: Notify,
    failure: Failure,
}

/// Why a window failed, if it did: for readers who hold no window between two frames.
pub type Failure = Arc<OnceLock<BackendError>>;

#[derive(Debug)]
enum State {
    Growing(Frames),
    Whole(Chunk),
    Failed(Frames, BackendError),
}

#[derive(Debug, Default)]
struct Frames {
    frames: Vec<(u64, Bytes)>,
    received: u64,
}

impl Default for State {
    fn default() -> Self {
        Self::Growing(Frames::default())
    }
}

impl Frames {
    /// The bytes from `offset` to the end of their frame.
    fn at(&self, offset: u64) -> Option<Bytes> {
        if offset >= self.received {
            return None;
        }
        let index = self
            .frames
            .partition_point(|(start, _)| *start <= offset)
            .checked_sub(1)?;
        let (start, frame) = self.frames.get(index)?;
        Some(frame.slice((offset - start) as usize..))
    }
}

impl Window {
    /// Bytes from `offset` within the window, as many as are at hand in one piece; waits for them where they are
    /// still to come. The error is the fetch's own. Never ask past the window's end.
    pub async fn at(&self, offset: u64) -> Result<Bytes, BackendError> {
        loop {
            let grown = self.grown.notified();
            match &*self.state() {
                State::Growing(frames) => {
                    if let Some(bytes) = frames.at(offset) {
                        return Ok(bytes);
                    }
                }
                State::Whole(chunk) => {
                    return chunk
                        .at(offset)
                        .ok_or_else(|| BackendError::Protocol("a read past its window".into()));
                }
                State::Failed(frames, error) => {
                    return frames.at(offset).ok_or_else(|| error.clone());
                }
            }
            grown.await;
        }
    }

    /// The whole chunk, where all of it is in.
    pub fn whole(&self) -> Option<Chunk> {
        match &*self.state() {
            State::Whole(chunk) => Some(chunk.clone()),
            State::Growing(_) | State::Failed(..) => None,
        }
    }

    /// Whether the fetch has failed: nobody new joins it.
    pub fn has_failed(&self) -> bool {
        matches!(&*self.state(), State::Failed(..))
    }

    /// Where its failure will stand.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// How many bytes are in.
    pub fn received(&self) -> u64 {
        match &*self.state() {
            State::Growing(frames) | State::Failed(frames, _) => frames.received,
            State::Whole(chunk) => chunk.len(),
        }
    }

    /// The writer's: the next bytes.
    pub fn push(&self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        if let State::Growing(frames) = &mut *self.state() {
            let start = frames.received;
            frames.received += frame.len() as u64;
            frames.frames.push((start, frame));
        }
        self.grown.notify_waiters();
    }

    /// The writer's: all bytes are in.
    pub fn finish(&self) -> Chunk {
        let frames: Vec<Bytes> = match &*self.state() {
            State::Growing(frames) | State::Failed(frames, _) => frames
                .frames
                .iter()
                .map(|(_, frame)| frame.clone())
                .collect(),
            State::Whole(chunk) => return chunk.clone(),
        };
        // Copied outside the lock: readers go on meanwhile.
        let chunk = Chunk::gather(&frames);
        *self.state() = State::Whole(chunk.clone());
        self.grown.notify_waiters();
        chunk
    }

    /// The writer's: no more bytes will come.
    pub fn fail(&self, error: BackendError) {
        let mut state = self.state();
        if let State::Growing(frames) = &mut *state {
            let _ = self.failure.set(error.clone());
            *state = State::Failed(std::mem::take(frames), error);
        }
        drop(state);
        self.grown.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
