//! Records that come close together, laid out as they will lie in their extent, to be written in one go: a write costs
//! about as much for 8 KiB as for 200. No I/O.

use super::extent::Entry;
use super::pages::Pages;
use super::record::{self, Head, PAGE};

/// What is written in one go, in bytes: some hundred thumbnails, and more than the largest record.
pub const BATCH: usize = 1 << 20;

/// Records that are not written yet, one behind the other.
#[derive(Debug)]
pub struct Batch {
    pages: Pages,
    used: usize,
    entries: Vec<Entry>,
}

impl Batch {
    /// An empty one; its memory is the system's until it is filled.
    pub fn new() -> Self {
        Self {
            pages: Pages::new(BATCH),
            used: 0,
            entries: Vec::new(),
        }
    }

    /// How many pages its records take.
    pub fn pages(&self) -> usize {
        self.used
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Whether a record of so many pages can be laid behind the others.
    pub fn has_room(&self, pages: usize) -> bool {
        (self.used + pages) * PAGE <= BATCH
    }

    /// Lays a record behind the others, `page` being where the first of them will lie; not one whose head does not fit
    /// its page, nor one that there is no room for.
    pub fn push(&mut self, page: usize, head: &Head, bytes: &[u8]) {
        let (at, pages) = (self.used * PAGE, record::pages(head.length));
        let room = self.pages.bytes().get_mut(at..at + pages * PAGE);
        let Some((first, rest)) = room.and_then(|room| room.split_first_chunk_mut::<PAGE>()) else {
            return;
        };
        if !head.encode(first) {
            return;
        }
        rest[..bytes.len()].copy_from_slice(bytes);
        rest[bytes.len()..].fill(0);
        self.entries.push(Entry::of(head, page + self.used));
        self.used += pages;
    }

    /// A head alone, in memory that begins at a page; none where it does not fit one. The batch must be empty.
    pub fn head(&mut self, head: &Head) -> Option<&[u8; PAGE]> {
        let first = self.pages.bytes().first_chunk_mut()?;
        head.encode(first).then_some(&*first)
    }

    /// The records as they lie on disk.
    pub fn bytes(&mut self) -> &[u8] {
        &self.pages.bytes()[..self.used * PAGE]
    }

    /// They were written: where they lie. The batch is empty again.
    pub fn take(&mut self) -> Vec<Entry> {
        self.used = 0;
        std::mem::take(&mut self.entries)
    }
}
