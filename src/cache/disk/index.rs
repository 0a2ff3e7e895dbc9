//! Where each record lies: some 50 bytes each, so that ten million objects take half a gigabyte. No I/O.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::extent::{Entry, Extent};

/// The index; shared between those who read and the one who writes.
#[derive(Debug, Default)]
pub struct Index(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    records: HashMap<u128, Place>,
    /// By number; a place names its extent by this.
    extents: HashMap<u64, Arc<Extent>>,
}

#[derive(Debug)]
struct Place {
    generation: u64,
    page: u32,
    length: u32,
    /// Read since it was written: worth keeping when its extent goes.
    used: AtomicBool,
}

impl Index {
    /// Where a record lies.
    pub fn find(&self, name: u128) -> Option<(Arc<Extent>, Entry)> {
        let kept = self.read();
        let place = kept.records.get(&name)?;
        let extent = kept.extents.get(&place.generation)?;
        let entry = Entry {
            name,
            page: place.page,
            length: place.length,
        };
        Some((Arc::clone(extent), entry))
    }

    /// A record was read.
    pub fn used(&self, name: u128) {
        if let Some(place) = self.read().records.get(&name) {
            place.used.store(true, Ordering::Relaxed);
        }
    }

    /// A record was written; it takes the place of another of its name.
    pub fn insert(&self, generation: u64, entry: Entry) {
        let place = Place {
            generation,
            page: entry.page,
            length: entry.length,
            used: AtomicBool::new(false),
        };
        self.write().records.insert(entry.name, place);
    }

    /// A record that cannot be read is forgotten, unless another has taken its place.
    pub fn forget(&self, generation: u64, entry: &Entry) {
        let mut kept = self.write();
        if is_at(&kept, generation, entry).is_some() {
            kept.records.remove(&entry.name);
        }
    }

    /// Whether a record still lies there, and was read since it was written.
    pub fn is_used(&self, generation: u64, entry: &Entry) -> bool {
        is_at(&self.read(), generation, entry)
            .is_some_and(|place| place.used.load(Ordering::Relaxed))
    }

    /// An extent is there to be read.
    pub fn add(&self, extent: Arc<Extent>) {
        self.write().extents.insert(extent.generation, extent);
    }

    /// An extent and all that lies in it is no longer there. How many records that were.
    pub fn remove(&self, generation: u64, entries: &[Entry]) -> usize {
        let mut kept = self.write();
        kept.extents.remove(&generation);
        let before = kept.records.len();
        for entry in entries {
            if is_at(&kept, generation, entry).is_some() {
                kept.records.remove(&entry.name);
            }
        }
        before - kept.records.len()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.read().records.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_at<'a>(kept: &'a Kept, generation: u64, entry: &Entry) -> Option<&'a Place> {
    let place = kept.records.get(&entry.name)?;
    (place.generation == generation && place.page == entry.page).then_some(place)
}
