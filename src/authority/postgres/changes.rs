//! What has changed since: every notification gets a number, and what was asked before it is not believed after it.
//!
//! Bounded: projects share slots by their hash, so that a change may make more be forgotten than it had to, never less.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::ids::ProjectId;

/// 32 KiB; with a thousand busy projects a slot has one of them in four.
const SLOTS: usize = 4096;

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// One project, which it is known to be about.
    Project(ProjectId),
    /// Any: nothing was found, or several could have been.
    Any,
}

/// The numbers of the last changes.
#[derive(Debug)]
pub struct Changes {
    last: AtomicU64,
    /// The last one that stood for all projects.
    all: AtomicU64,
    of_slot: Box<[AtomicU64]>,
    slots: RandomState,
    /// Whether changes are heard of.
    listening: AtomicBool,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(0),
            all: AtomicU64::new(0),
            of_slot: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            slots: RandomState::new(),
            listening: AtomicBool::new(false),
        }
    }
}

impl Changes {
    /// The number of the last change: to be taken before a question is put.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// Whether nothing has changed of this since that number.
    pub fn holds(&self, since: u64, concern: &Concern) -> bool {
        let changed = match concern {
            Concern::Any => self.last(),
            Concern::Project(id) => {
                let of_project = self.slot(id.as_str()).load(Ordering::SeqCst);
                of_project.max(self.all.load(Ordering::SeqCst))
            }
        };
        changed <= since
    }

    /// A notification: a project's id, or nothing, which stands for all.
    pub fn heard(&self, payload: &str) {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        let place = match payload {
            "" => &self.all,
            project => self.slot(project),
        };
        place.fetch_max(number, Ordering::SeqCst);
    }

    /// Whether changes are heard of: only then is what is remembered believed without asking.
    pub fn are_heard(&self) -> bool {
        self.listening.load(Ordering::SeqCst)
    }

    /// From now on changes are heard of; what was remembered before may have changed unheard.
    pub fn begin(&self) {
        self.heard("");
        self.listening.store(true, Ordering::SeqCst);
    }

    /// They are not heard of any more. Whether they were.
    pub fn end(&self) -> bool {
        self.listening.swap(false, Ordering::SeqCst)
    }

    fn slot(&self, project: &str) -> &AtomicU64 {
        let hash = self.slots.hash_one(project) as usize;
        &self.of_slot[hash % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(project: &str) -> Concern {
        Concern::Project(project.into())
    }

    #[test]
    fn a_change_ends_what_was_asked_before_it_and_nothing_asked_after() {
        let changes = Changes::default();
        let before = changes.last();
        assert!(changes.holds(before, &of("42")));
        changes.heard("42");
        assert!(!changes.holds(before, &of("42")));
        assert!(changes.holds(changes.last(), &of("42")));
    }

    #[test]
    fn what_could_be_any_project_ends_with_every_change_and_a_project_with_its_own_and_alls() {
        let changes = Changes::default();
        let before = changes.last();
        // Of a few others, for one may share the slot.
        let others: Vec<_> = (0..8).map(|n| of(&format!("other {n}"))).collect();
        changes.heard("42");
        assert!(!changes.holds(before, &Concern::Any));
        assert!(others.iter().any(|other| changes.holds(before, other)));
        changes.heard("");
        assert!(others.iter().all(|other| !changes.holds(before, other)));
    }

    #[test]
    fn nothing_from_before_listening_is_believed_after() {
        let changes = Changes::default();
        let before = changes.last();
        assert!(!changes.are_heard());
        changes.begin();
        assert!(changes.are_heard() && !changes.holds(before, &of("42")));
        assert!(changes.end() && !changes.end());
    }
}
