//! An extent that is being written: small records wait for one another and are written in one go, large ones at once.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::batch::Batch;
use super::extent::{Entry, Extent, index_pages};
use super::record::{self, Head, PAGE};
use crate::cache::ChunkKey;
use crate::object::ObjectMeta;

/// From so many bytes on a record is a write of its own, without a copy: below it a copy costs less than a write.
const WHOLE: usize = 128 << 10;

/// What is to be kept.
pub struct Record<'a> {
    /// Which chunk.
    pub key: &'a ChunkKey,
    /// What storage said of the object.
    pub meta: &'a ObjectMeta,
    /// When it did.
    pub kept_at: SystemTime,
    /// The chunk's bytes.
    pub bytes: &'a [u8],
}

/// An extent that is being written.
pub struct Open {
    /// It.
    pub extent: Arc<Extent>,
    /// Behind what is written.
    pub page: usize,
    /// What is written.
    pub entries: Vec<Entry>,
    /// What will be written next.
    batch: Batch,
}

impl Open {
    /// One that holds these, up to a page.
    pub fn new(extent: Arc<Extent>, page: usize, entries: Vec<Entry>) -> Self {
        Self {
            extent,
            page,
            entries,
            batch: Batch::new(),
        }
    }

    /// Pages that it takes with its index, and with so many more records of so many pages.
    pub fn pages_with(&self, records: usize, pages: usize) -> usize {
        let records = self.entries.len() + self.batch.count() + records;
        self.page + self.batch.pages() + pages + index_pages(records)
    }

    /// Appends a record, now or with those that come after it; not one whose head does not fit its page.
    ///
    /// # Errors
    /// The system's own; some of what waited may have been written.
    pub fn append(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Record {
            key,
            meta,
            kept_at,
            bytes,
        } = *record;
        // What lies in the arena begins at a page, and can be written from there.
        let is_aligned = bytes.as_ptr().align_offset(PAGE) == 0 && bytes.len().is_multiple_of(PAGE);
        let is_whole = is_aligned && bytes.len() >= WHOLE;
        let pages = record::pages(bytes.len() as u32);
        if is_whole || !self.batch.has_room(pages) {
            self.flush()?;
        }
        let head = Head::new(self.extent.home, key, meta, kept_at, bytes);
        if !is_whole {
            self.batch.push(self.page, &head, bytes);
        } else if let Some(first) = self.batch.head(&head) {
            self.extent.write_whole(self.page as u32, first, bytes)?;
            self.entries.push(Entry::of(&head, self.page));
            self.page += pages;
        }
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The system's own; some of it may have been written, and it waits no longer.
    pub fn flush(&mut self) -> io::Result<()> {
        let pages = self.batch.pages();
        if pages == 0 {
            return Ok(());
        }
        let written = self.extent.write(self.page as u32, self.batch.bytes());
        let mut entries = self.batch.take();
        written?;
        self.entries.append(&mut entries);
        self.page += pages;
        Ok(())
    }
}
