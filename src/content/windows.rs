//! The windows under way and those just finished: one fetch for each chunk, whoever asks, as long as anybody does.
//!
//! Who follows a window holds a [`Follower`]; with the last of them a window that is not nearly whole is given up.
//! Joining and giving up are decided under one lock, so that nobody joins what was just given up.
//!
//! A finished window stays joinable for a while, so that readers who follow it lose nothing where the cache does not
//! take it (full of hotter chunks, or smaller than one).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use super::plan::WINDOW_SIZE;
use super::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use super::window::Window;
use crate::object::ObjectVersion;

/// How many bytes of finished windows stay joinable: a few whole ones.
const RECENT_BYTES: u64 = 4 * WINDOW_SIZE;
/// How many finished windows stay joinable, whatever their size.
const RECENT_COUNT: usize = 256;

/// A version as chunk keys share it.
type Version = std::sync::Arc<ObjectVersion>;

/// The board of windows.
#[derive(Debug, Default)]
pub struct Windows {
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    /// Those of a version by where they begin; no two of them overlap.
    windows: HashMap<Version, BTreeMap<u64, Entry>>,
    recent: VecDeque<(Version, Range<u64>)>,
    recent_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    window: Arc<Window>,
    followers: usize,
}

/// How somebody came to a window.
#[derive(Debug)]
pub enum Joined {
    /// It is new: the one who gets this must fill it, and call [`Windows::finished`] or [`Windows::failed`].
    Leads(Arc<Window>, Follower),
    /// Somebody else fills or has filled it.
    Follows(Arc<Window>, Follower),
}

/// One who follows a window: as long as there is one, it is fetched. Keeps no bytes.
#[derive(Debug)]
pub struct Follower {
    windows: Arc<Windows>,
    version: Version,
    start: u64,
    window: Weak<Window>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        // What is taken off is dropped when the board is free again.
        let _given_up = self.windows.leave(self);
    }
}

impl Windows {
    /// The window that holds the beginning of `wanted`, which is a chunk's; a new one where there is none that still may
    /// succeed. It ends where the next one on the board begins.
    pub fn join(self: &Arc<Self>, version: &Version, wanted: Range<u64>) -> Joined {
        let follower = |window: &Arc<Window>| Follower {
            windows: self.clone(),
            version: version.clone(),
            start: window.range().start,
            window: Arc::downgrade(window),
        };
        let mut board = self.board();
        let windows = board.windows.entry(version.clone()).or_default();
        if let Some(entry) = joinable(windows, wanted.start) {
            entry.followers += 1;
            let window = entry.window.clone();
            return Joined::Follows(window.clone(), follower(&window));
        }
        let next = windows.range(wanted.start + 1..wanted.end).next();
        let end = next.map_or(wanted.end, |(start, _)| *start);
        let window = Arc::new(Window::new(wanted.start..end));
        let entry = Entry {
            window: window.clone(),
            followers: 1,
        };
        let failed = windows.insert(wanted.start, entry);
        drop(board);
        drop(failed);
        Joined::Leads(window.clone(), follower(&window))
    }

    /// Whether there is a window that holds this position and still may succeed, or has.
    pub fn has(&self, version: &Version, position: u64) -> bool {
        let mut board = self.board();
        let windows = board.windows.get_mut(version);
        windows.is_some_and(|windows| joinable(windows, position).is_some())
    }

    /// All bytes are in: the window stays joinable until others push it out.
    pub fn finished(&self, version: Version, window: &Arc<Window>) {
        let mut pushed_out = Vec::new();
        let mut board = self.board();
        if board.entry(&version, window).is_none() {
            return;
        }
        board.recent_bytes += length(&window.range());
        board.recent.push_back((version, window.range()));
        while board.recent_bytes > RECENT_BYTES || board.recent.len() > RECENT_COUNT {
            let Some((version, range)) = board.recent.pop_front() else {
                break;
            };
            board.recent_bytes -= length(&range);
            // Another one may be under way there by now; that is not finished and not this one.
            pushed_out.push(board.take_off(&version, range.start, Window::is_whole));
        }
        drop(board);
    }

    /// Takes off the windows that are whole; those under way stay.
    pub fn forget_finished(&self) {
        let mut forgotten = Vec::new();
        let mut board = self.board();
        board.recent_bytes = 0;
        for (version, range) in std::mem::take(&mut board.recent) {
            forgotten.push(board.take_off(&version, range.start, Window::is_whole));
        }
        drop(board);
    }

    /// No more bytes will come: the window is taken off, unless another took its place.
    pub fn failed(&self, version: &Version, failed: &Arc<Window>) {
        let is_it = |window: &Window| std::ptr::eq(window, &**failed);
        let _failed = self.board().take_off(version, failed.range().start, is_it);
    }

    fn leave(&self, follower: &Follower) -> Option<Entry> {
        let window = follower.window.upgrade()?;
        let mut board = self.board();
        let entry = board.entry(&follower.version, &window)?;
        entry.followers -= 1;
        if entry.followers > 0 || !window.give_up() {
            return None;
        }
        board.take_off(&follower.version, follower.start, |_| true)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// What is on the board of this very window.
    fn entry(&mut self, version: &Version, window: &Arc<Window>) -> Option<&mut Entry> {
        let windows = self.windows.get_mut(version)?;
        let entry = windows.get_mut(&window.range().start)?;
        Arc::ptr_eq(&entry.window, window).then_some(entry)
    }

    fn take_off(
        &mut self,
        version: &Version,
        start: u64,
        which: impl Fn(&Window) -> bool,
    ) -> Option<Entry> {
        let windows = self.windows.get_mut(version)?;
        if !which(&windows.get(&start)?.window) {
            return None;
        }
        let entry = windows.remove(&start);
        if windows.is_empty() {
            self.windows.remove(version);
        }
        entry
    }
}

fn joinable(windows: &mut BTreeMap<u64, Entry>, position: u64) -> Option<&mut Entry> {
    let (_, entry) = windows.range_mut(..=position).next_back()?;
    let window = &entry.window;
    (window.range().contains(&position) && !window.has_failed()).then_some(entry)
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}
