//! Notices that files of the access list have changed: by the system's events, and by looking.
//!
//! Directories are watched, not files: a file that is replaced by a rename, or by the swap of a link two levels up (as
//! Kubernetes does with `..data`), gives no event of its own. Looking every half second is for what gives no event at
//! all, such as a network file system.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::list::{Stamp, stamp};

/// Editors write in several steps: what follows the first event within this is one change.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How often the files are looked at. With the reading itself it keeps a change within the second of contract §3.
const POLL: Duration = Duration::from_millis(500);

/// What wakes the thread.
#[derive(Debug)]
pub enum Signal {
    /// Something happened to files of these names in a watched directory.
    Touched(Vec<OsString>),
    /// The authority is gone.
    Stop,
}

/// The files of a list, as they were when it was read.
pub struct Watched(Vec<(PathBuf, Stamp)>);

impl Watched {
    pub fn new(files: Vec<(PathBuf, Stamp)>) -> Self {
        Self(files)
    }

    fn changed(&self) -> bool {
        self.0.iter().any(|(path, before)| stamp(path) != *before)
    }

    fn named(&self, name: &OsString) -> bool {
        let mut names = self.0.iter().filter_map(|(path, _)| path.file_name());
        names.any(|watched| watched == name)
    }

    fn directories(&self) -> HashSet<&Path> {
        let parents = self.0.iter().filter_map(|(path, _)| path.parent());
        let here = |parent: &'_ Path| parent.as_os_str().is_empty();
        parents
            .map(|parent| if here(parent) { Path::new(".") } else { parent })
            .collect()
    }
}

/// Watches, and calls `reload` for what to watch next, until told to stop or `reload` says that nobody is left.
pub fn run(
    mut watched: Watched,
    signals: mpsc::Sender<Signal>,
    received: &mpsc::Receiver<Signal>,
    reload: impl Fn() -> Option<Watched>,
) {
    let mut watcher = watch_events(signals);
    watch_directories(&mut watcher, &watched);
    // What changed between the reading and the watching is found at the first look.
    while let Ok(names) = next_change(received) {
        // A stamp may miss a change of the same size within the clock's grain; an event by name does not.
        if names.iter().any(|name| watched.named(name)) || watched.changed() {
            let Some(next) = reload() else { return };
            watched = next;
            watch_directories(&mut watcher, &watched);
        }
    }
}

/// The thread was told to end, or nobody is left to tell it.
struct Ended;

/// Waits for events, or for the time to look: the names that events spoke of, none where it is only time.
fn next_change(received: &mpsc::Receiver<Signal>) -> Result<Vec<OsString>, Ended> {
    let mut names = match received.recv_timeout(POLL) {
        Ok(Signal::Touched(names)) => names,
        Err(RecvTimeoutError::Timeout) => return Ok(vec![]),
        Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Err(Ended),
    };
    let settled = Instant::now() + DEBOUNCE;
    loop {
        let left = settled.saturating_duration_since(Instant::now());
        match received.recv_timeout(left) {
            Ok(Signal::Touched(more)) => names.extend(more),
            Err(RecvTimeoutError::Timeout) => return Ok(names),
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Err(Ended),
        }
    }
}

fn watch_events(signals: mpsc::Sender<Signal>) -> Option<RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        // Reading is no change, and the list's own reading would otherwise wake it for ever.
        let written = AccessKind::Close(AccessMode::Write);
        let paths = match event {
            Ok(event) => match event.kind {
                EventKind::Access(kind) if kind != written => return,
                _ => event.paths,
            },
            // Events were lost: look.
            Err(_) => vec![],
        };
        let names = paths
            .iter()
            .filter_map(|path| path.file_name().map(OsString::from));
        let _ = signals.send(Signal::Touched(names.collect()));
    };
    notify::recommended_watcher(handler)
        .map_err(|error| tracing::warn!(%error, "no file events; looking at the access list every half second"))
        .ok()
}

/// Watches every directory, again after each reload: one that was replaced is another one under the same name.
fn watch_directories(watcher: &mut Option<RecommendedWatcher>, watched: &Watched) {
    let Some(watcher) = watcher else { return };
    for directory in watched.directories() {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, directory = %directory.display(), "not watched; looked at every half second");
        }
    }
}
