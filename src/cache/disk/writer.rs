//! The one who writes: appends records to extents and makes room by giving up the oldest ones, in a thread of its own.
//!
//! New records go to young extents, a tenth of the whole; when one of these is given up, what was read meanwhile moves
//! to the old ones, and so does, when an old one is given up, what was read since it came there. So what is read once
//! sweeps through a tenth and no more.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::extent::{Entry, Extent, Pages, index_pages};
use super::index::Index;
use super::record::{self, Head, PAGE};
use crate::cache::{Chunk, ChunkKey, SEGMENT_SIZE};
use crate::object::ObjectMeta;

/// The largest extent: large enough to be written in one go, small enough that giving one up is no event.
const MAX_EXTENT: u64 = 64 << 20;
/// So many extents at least, or one would be a large part of the whole.
const MIN_EXTENTS: u64 = 16;
/// The part of the whole that is for what has not been read again.
const YOUNG: usize = 10;
/// Extents that may be begun while one is given up: one for what moves, one for what comes.
const SPARE: usize = 2;

/// Which extents a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    Young,
    Old,
}

/// An extent that is being written.
struct Open {
    extent: Arc<Extent>,
    page: usize,
    entries: Vec<Entry>,
}

/// The writer's own.
pub struct Writer {
    directory: PathBuf,
    index: Arc<Index>,
    /// In pages.
    extent_size: usize,
    max_extents: usize,
    next_generation: u64,
    sealed: [VecDeque<Arc<Extent>>; 2],
    open: [Option<Open>; 2],
    staging: Pages,
    evicted: Box<dyn Fn(u64) + Send>,
}

impl Writer {
    /// Goes on with what is in the directory, oldest first; `extents` are all of the old ring.
    pub fn new(
        directory: PathBuf,
        capacity: u64,
        index: Arc<Index>,
        extents: Vec<Arc<Extent>>,
        evicted: Box<dyn Fn(u64) + Send>,
    ) -> Self {
        let extent_size = (capacity / MIN_EXTENTS).min(MAX_EXTENT) / PAGE as u64;
        let max_extents = capacity / (extent_size * PAGE as u64).max(1);
        let next_generation = extents.last().map_or(1, |extent| extent.generation + 1);
        Self {
            directory,
            index,
            extent_size: extent_size as usize,
            max_extents: (max_extents as usize).max(SPARE + 2),
            next_generation,
            sealed: [VecDeque::new(), extents.into()],
            open: [None, None],
            staging: Pages::new(PAGE + SEGMENT_SIZE),
            evicted,
        }
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// The system's own; what was begun is given up, what was written before stays.
    pub fn keep(&mut self, key: &ChunkKey, chunk: &Chunk, meta: &ObjectMeta) -> io::Result<()> {
        let segments: Vec<&[u8]> = chunk.bytes().chunks(SEGMENT_SIZE).collect();
        // What is there already need not be written again.
        let name = record::name(&key.version.location, key.index);
        if let Some((extent, entry)) = self.index.find(name)
            && extent
                .head(entry.page)?
                .is_some_and(|head| head.key == *key)
        {
            return Ok(());
        }
        self.append(Ring::Young, key, meta, &segments)
    }

    /// Seals what is being written, so that the next start need not look for it.
    pub fn finish(&mut self) {
        for ring in [Ring::Young, Ring::Old] {
            if let Err(error) = self.seal(ring) {
                tracing::debug!(%error, "an extent of the disk cache stays unsealed");
            }
        }
    }

    fn append(
        &mut self,
        ring: Ring,
        key: &ChunkKey,
        meta: &ObjectMeta,
        segments: &[&[u8]],
    ) -> io::Result<()> {
        let length: usize = segments.iter().map(|segment| segment.len()).sum();
        let pages = record::pages(length as u32);
        let fits =
            |open: &Open, size| open.page + pages + index_pages(open.entries.len() + 1) <= size;
        if pages + index_pages(1) > self.extent_size {
            return Ok(());
        }
        if !self.open[ring as usize]
            .as_ref()
            .is_some_and(|open| fits(open, self.extent_size))
        {
            self.seal(ring)?;
            if ring == Ring::Young {
                self.make_room();
            }
            self.begin(ring)?;
        }
        let Some(open) = &mut self.open[ring as usize] else {
            return Ok(());
        };
        let head = Head::new(open.extent.generation, key, meta, segments);
        match write(&open.extent, open.page, &head, segments, &mut self.staging) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let entry = Entry {
                    name: head.name(),
                    page: open.page as u32,
                    length: head.length,
                };
                open.page += pages;
                open.entries.push(entry);
                self.index.insert(open.extent.generation, entry);
                Ok(())
            }
            Err(error) => {
                // It may be full or broken: what is in it stays readable, nothing more is put there.
                let given_up = self.open[ring as usize].take();
                self.sealed[ring as usize].extend(given_up.map(|open| open.extent));
                self.make_room();
                Err(error)
            }
        }
    }

    fn begin(&mut self, ring: Ring) -> io::Result<()> {
        let extent = Arc::new(Extent::create(&self.directory, self.next_generation)?);
        self.next_generation += 1;
        self.index.add(Arc::clone(&extent));
        self.open[ring as usize] = Some(Open {
            extent,
            page: 0,
            entries: Vec::new(),
        });
        Ok(())
    }

    fn seal(&mut self, ring: Ring) -> io::Result<()> {
        let Some(open) = self.open[ring as usize].take() else {
            return Ok(());
        };
        self.sealed[ring as usize].push_back(Arc::clone(&open.extent));
        open.extent.seal(open.page as u32, &open.entries)
    }

    /// Gives up extents until there is room to begin [`SPARE`] of them.
    fn make_room(&mut self) {
        while self.count(Ring::Young) + self.count(Ring::Old) + SPARE > self.max_extents {
            let young = self.count(Ring::Young) > (self.max_extents / YOUNG).max(1);
            let (first, second) = if young {
                (Ring::Young, Ring::Old)
            } else {
                (Ring::Old, Ring::Young)
            };
            let oldest = self.sealed[first as usize].pop_front();
            let Some(oldest) = oldest.or_else(|| self.sealed[second as usize].pop_front()) else {
                return;
            };
            self.give_up(&oldest);
        }
    }

    fn count(&self, ring: Ring) -> usize {
        self.sealed[ring as usize].len() + usize::from(self.open[ring as usize].is_some())
    }

    fn give_up(&mut self, extent: &Arc<Extent>) {
        let entries = extent.entries().unwrap_or_default();
        let mut left = self.extent_size / 2;
        for entry in &entries {
            let pages = record::pages(entry.length);
            if pages <= left && self.index.is_used(extent.generation, entry) {
                left -= pages;
                if let Err(error) = self.move_on(extent, entry) {
                    tracing::debug!(%error, "a record of the disk cache is lost");
                }
            }
        }
        let lost = self.index.remove(extent.generation, &entries);
        for _ in 0..lost {
            (self.evicted)(0);
        }
        if let Err(error) = extent.delete() {
            tracing::debug!(%error, "an extent of the disk cache cannot be deleted");
        }
    }

    /// Copies a record to the old ring.
    fn move_on(&mut self, extent: &Extent, entry: &Entry) -> io::Result<()> {
        let Some(head) = extent.head(entry.page)? else {
            return Ok(());
        };
        let length = head.length as usize;
        let mut pages = Pages::new(length.next_multiple_of(PAGE));
        extent.read(entry.page + 1, pages.bytes())?;
        let segments: Vec<&[u8]> = pages.bytes()[..length].chunks(SEGMENT_SIZE).collect();
        let whole = segments
            .iter()
            .enumerate()
            .all(|(number, bytes)| head.vouches(number, bytes));
        if !whole {
            return Ok(());
        }
        self.append(Ring::Old, &head.key, &head.meta, &segments)
    }
}

/// Writes a record; `false` where its head does not fit.
fn write(
    extent: &Extent,
    page: usize,
    head: &Head,
    segments: &[&[u8]],
    staging: &mut Pages,
) -> io::Result<bool> {
    let staging = staging.bytes();
    let Ok(first) = <&mut [u8; PAGE]>::try_from(&mut staging[..PAGE]) else {
        return Ok(false);
    };
    if !head.encode(first) {
        return Ok(false);
    }
    // The head goes out with the first segment: one write for a small object.
    let (mut at, mut begun) = (page, PAGE);
    for segment in segments {
        let end = begun + segment.len();
        staging[begun..end].copy_from_slice(segment);
        let whole = end.next_multiple_of(PAGE);
        staging[end..whole].fill(0);
        extent.write(at as u32, &staging[..whole])?;
        at += whole / PAGE;
        begun = 0;
    }
    Ok(true)
}
