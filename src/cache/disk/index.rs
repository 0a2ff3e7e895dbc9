//! Where each record lies: 33 bytes each in a table that is half to seven eighths full, so that ten million take
//! about half a gigabyte. No I/O.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::extent::{Entry, Extent};

/// The index; shared between those who read and the one who writes.
#[derive(Debug, Default)]
pub struct Index(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    records: HashMap<u128, Place, BuildHasherDefault<AsItIs>>,
    /// By number; a place names its extent by this.
    extents: HashMap<u32, Arc<Extent>>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    page: u32,
    length: u32,
    tag: u16,
    /// Read since it was written: worth keeping when its extent goes.
    used: AtomicBool,
}

/// A name is a digest already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, name: u128) {
        self.0 = name as u64;
    }
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
            tag: place.tag,
        };
        Some((Arc::clone(extent), entry))
    }

    /// Whether there is a record of a version with this tag.
    pub fn has(&self, name: u128, tag: u16) -> bool {
        let kept = self.read();
        kept.records
            .get(&name)
            .is_some_and(|place| place.tag == tag && kept.extents.contains_key(&place.generation))
    }

    /// A record was read.
    pub fn used(&self, name: u128) {
        if let Some(place) = self.read().records.get(&name) {
            place.used.store(true, Ordering::Relaxed);
        }
    }

    /// Records were written; each takes the place of another of its name.
    pub fn insert(&self, generation: u32, entries: &[Entry]) {
        let mut kept = self.write();
        kept.records.reserve(entries.len());
        for entry in entries {
            let place = Place {
                generation,
                page: entry.page,
                length: entry.length,
                tag: entry.tag,
                used: AtomicBool::new(false),
            };
            kept.records.insert(entry.name, place);
        }
    }

    /// A record that cannot be read is forgotten, unless another has taken its place.
    pub fn forget(&self, generation: u32, entry: &Entry) {
        let mut kept = self.write();
        if is_at(&kept, generation, entry).is_some() {
            kept.records.remove(&entry.name);
        }
    }

    /// Whether a record still lies there, and was read since it was written.
    pub fn is_used(&self, generation: u32, entry: &Entry) -> bool {
        is_at(&self.read(), generation, entry)
            .is_some_and(|place| place.used.load(Ordering::Relaxed))
    }

    /// An extent is there to be read.
    pub fn add(&self, extent: Arc<Extent>) {
        self.write().extents.insert(extent.home.generation, extent);
    }

    /// An extent and all that lies in it is no longer there. How many records that were.
    pub fn remove(&self, generation: u32, entries: Option<&[Entry]>) -> usize {
        let mut kept = self.write();
        kept.extents.remove(&generation);
        let before = kept.records.len();
        let Some(entries) = entries else {
            // What was in it cannot be read any more: looked for everywhere.
            kept.records
                .retain(|_, place| place.generation != generation);
            return before - kept.records.len();
        };
        for entry in entries {
            if is_at(&kept, generation, entry).is_some() {
                kept.records.remove(&entry.name);
            }
        }
        before - kept.records.len()
    }

    /// Nothing is there any more.
    pub fn clear(&self) {
        *self.write() = Kept::default();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.read().records.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        // No code panics while it holds the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_at<'a>(kept: &'a Kept, generation: u32, entry: &Entry) -> Option<&'a Place> {
    let place = kept.records.get(&entry.name)?;
    (place.generation == generation && place.page == entry.page).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::super::directory::Directory;
    use super::super::extent::Ring;
    use super::*;

    #[test]
    fn what_lay_in_an_extent_that_is_gone_is_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(directory.path()).expect("opens");
        let extent = Extent::create(&Arc::new(directory), 3, Ring::Young).expect("made");
        let entry = Entry {
            name: 1,
            page: 0,
            length: 5,
            tag: 2,
        };
        let index = Index::default();
        index.add(Arc::new(extent));
        index.insert(3, &[entry]);
        assert!(index.has(1, 2) && !index.has(1, 3));
        // Some of its records were not found again.
        index.remove(3, Some(&[]));
        assert!(!index.has(1, 2));
    }
}
