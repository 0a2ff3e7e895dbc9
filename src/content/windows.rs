//! The windows under way and those just finished, by chunk: one fetch each, whoever asks.
//!
//! A finished window stays joinable for a while, so that readers who follow it lose nothing where the cache does not
//! take it (full of hotter chunks, or smaller than one).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::window::Window;
use crate::cache::{CHUNK_SIZE, ChunkKey};

/// How many bytes of finished windows stay joinable: a few whole chunks.
const RECENT_BYTES: u64 = 4 * CHUNK_SIZE;
/// How many finished windows stay joinable, whatever their size.
const RECENT_COUNT: usize = 256;

/// The board of windows.
#[derive(Debug, Default)]
pub struct Windows {
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    windows: HashMap<ChunkKey, Arc<Window>>,
    recent: VecDeque<(ChunkKey, u64)>,
    recent_bytes: u64,
}

/// How somebody came to a window.
#[derive(Debug)]
pub enum Joined {
    /// It is new: the one who gets this must fill it, and call [`Windows::finished`] or [`Windows::failed`].
    Leads(Arc<Window>),
    /// Somebody else fills or has filled it.
    Follows(Arc<Window>),
}

impl Windows {
    /// The window of a chunk; a new one where there is none that still may succeed.
    pub fn join(&self, key: &ChunkKey) -> Joined {
        let mut board = self.board();
        if let Some(window) = board.windows.get(key)
            && !window.has_failed()
        {
            return Joined::Follows(window.clone());
        }
        let window = Arc::new(Window::default());
        board.windows.insert(key.clone(), window.clone());
        Joined::Leads(window)
    }

    /// Whether there is a window of this chunk that still may succeed, or has.
    pub fn has(&self, key: &ChunkKey) -> bool {
        self.board()
            .windows
            .get(key)
            .is_some_and(|window| !window.has_failed())
    }

    /// All bytes are in: the window stays joinable until others push it out.
    pub fn finished(&self, key: ChunkKey, length: u64) {
        let mut board = self.board();
        board.recent.push_back((key, length));
        board.recent_bytes += length;
        while board.recent_bytes > RECENT_BYTES || board.recent.len() > RECENT_COUNT {
            let Some((oldest, length)) = board.recent.pop_front() else {
                break;
            };
            board.recent_bytes -= length;
            // The same chunk may be under way again; that window is not finished and not this one.
            if board
                .windows
                .get(&oldest)
                .is_some_and(|window| window.whole().is_some())
            {
                board.windows.remove(&oldest);
            }
        }
    }

    /// Takes off the windows that are whole; those under way stay.
    pub fn forget_finished(&self) {
        let mut board = self.board();
        board.windows.retain(|_, window| window.whole().is_none());
        board.recent.clear();
        board.recent_bytes = 0;
    }

    /// No more bytes will come: the window is taken off, unless another took its place.
    pub fn failed(&self, key: &ChunkKey, failed: &Arc<Window>) {
        let mut board = self.board();
        if board
            .windows
            .get(key)
            .is_some_and(|window| Arc::ptr_eq(window, failed))
        {
            board.windows.remove(key);
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StorageId;
    use crate::object::{ETag, ObjectLocation, ObjectVersion};

    fn key(index: u64) -> ChunkKey {
        let location = ObjectLocation {
            storage: StorageId::from("s"),
            epoch: 0,
            bucket: "b".into(),
            key: "k".into(),
        };
        let etag = ETag::strong("v").expect("a tag");
        ChunkKey {
            version: Arc::new(ObjectVersion { location, etag }),
            index,
        }
    }

    #[test]
    fn the_second_joins_the_first_until_it_fails() {
        let windows = Windows::default();
        let Joined::Leads(first) = windows.join(&key(0)) else {
            panic!("nobody was there")
        };
        assert!(matches!(windows.join(&key(0)), Joined::Follows(_)));
        first.fail(crate::backend::BackendError::Changed);
        assert!(
            matches!(windows.join(&key(0)), Joined::Leads(_)),
            "a failed window is not joined"
        );
        windows.failed(&key(0), &first);
        assert!(
            matches!(windows.join(&key(0)), Joined::Follows(_)),
            "its successor stays"
        );
    }

    #[test]
    fn finished_windows_stay_within_their_bound() {
        let windows = Windows::default();
        for index in 0..10 {
            let Joined::Leads(window) = windows.join(&key(index)) else {
                panic!("nobody was there")
            };
            window.finish(|frames| crate::cache::Chunk::gather(frames, None));
            windows.finished(key(index), CHUNK_SIZE);
        }
        let kept = windows.board().windows.len() as u64;
        assert_eq!(kept, RECENT_BYTES / CHUNK_SIZE);
        assert!(
            matches!(windows.join(&key(9)), Joined::Follows(_)),
            "the last one is joinable"
        );
    }
}
