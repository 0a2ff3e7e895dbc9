//! The access list in files, watched: a change is in force within a second, a broken file keeps the old list.
//!
//! Lookups take a snapshot and no lock. One thread watches and reloads; it ends with the [`FileAuthority`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::watch;

use super::index::Index;
use super::watcher::{self, Signal, Watched};
use super::{Authority, AuthorityError, Entitlement, Target, list};
use crate::auth::Annotator;
use crate::ids::{ProjectId, StorageId};
use crate::located::{Located, Problems};
use crate::media_uri::MediaUri;
use crate::project::{MediaRule, Project};

/// So many mistakes of one broken list are logged; a list with more has one cause.
const LOGGED_PROBLEMS: usize = 20;

/// The access list of `access.source = "file"`.
#[derive(Debug)]
pub struct FileAuthority {
    file: PathBuf,
    media: MediaRule,
    index: ArcSwap<Index>,
    reload_ok: AtomicBool,
    generation: watch::Sender<u64>,
    signals: mpsc::Sender<Signal>,
}

impl FileAuthority {
    /// Loads the list, blocking, and begins to watch its files. `media` is the rule of projects that set none.
    /// Needs no runtime.
    pub fn open(file: PathBuf, media: MediaRule) -> Result<Arc<Self>, Problems> {
        let reading = list::read(&file, media);
        let index = reading.index?;
        let watched = Watched::new(reading.files);
        let (signals, received) = mpsc::channel();
        let name = file.display().to_string();
        let authority = Arc::new(Self {
            file,
            media,
            index: ArcSwap::from_pointee(index),
            reload_ok: AtomicBool::new(true),
            generation: watch::Sender::new(0),
            signals: signals.clone(),
        });
        let weak = Arc::downgrade(&authority);
        std::thread::Builder::new()
            .name("access list".to_owned())
            .spawn(move || {
                let reload = || weak.upgrade().map(|authority| authority.reload());
                watcher::run(watched, signals, &received, reload);
            })
            .map_err(|error| Located::file(name, format!("cannot be watched: {error}")))?;
        Ok(authority)
    }

    /// The list's own file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the files as they are now are the list in force; false while a broken one keeps the old.
    pub fn last_reload_ok(&self) -> bool {
        self.reload_ok.load(Ordering::Acquire)
    }

    /// Wakes after every reload. The number grows with each list that came into force: what was permitted before may
    /// no longer be, and running bodies are to be judged again. It stays where a broken file left the old list.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Every storage that a project names must be among `configured`; others are located where they are named.
    pub fn check_storages(&self, configured: &[StorageId]) -> Result<(), Problems> {
        let index = self.index.load();
        let unknown = index.storages().iter();
        let unknown = unknown.filter(|(storage, _)| !configured.contains(storage));
        let problems: Vec<Located> = unknown.map(|(_, problem)| problem.clone()).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
        }
    }

    /// How many projects and tasks are in force.
    pub fn size(&self) -> (usize, usize) {
        self.index.load().size()
    }

    /// A project, and the media that its tasks name, each once; none where the list has no such project.
    pub fn media(&self, project: &ProjectId) -> Option<(Arc<Project>, Vec<MediaUri>)> {
        self.index.load().media(project)
    }

    /// Reads the list again and puts it in force if it is whole. Blocks. Gives the files to watch from now on.
    fn reload(&self) -> Watched {
        let reading = list::read(&self.file, self.media);
        match reading.index {
            Ok(index) => {
                let (projects, tasks) = index.size();
                self.index.store(Arc::new(index));
                self.reload_ok.store(true, Ordering::Release);
                tracing::info!(projects, tasks, "the access list has changed");
                self.generation.send_modify(|generation| *generation += 1);
            }
            Err(problems) => {
                for problem in problems.0.iter().take(LOGGED_PROBLEMS) {
                    tracing::error!(%problem, "the access list is broken; the old one stays in force");
                }
                self.reload_ok.store(false, Ordering::Release);
                self.generation.send_modify(|_| {});
            }
        }
        Watched::new(reading.files)
    }
}

impl Drop for FileAuthority {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.signals.send(Signal::Stop);
    }
}

#[async_trait]
impl Authority for FileAuthority {
    async fn entitle(
        &self,
        _annotator: &Annotator,
        target: &Target,
        uri: &MediaUri,
    ) -> Result<Entitlement, AuthorityError> {
        Ok(Entitlement {
            candidates: self.index.load().candidates(target, uri),
            as_of: Instant::now(),
        })
    }

    fn ready(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
