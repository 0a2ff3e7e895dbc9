//! The one who writes: appends records to extents and makes room by giving up the oldest ones.
//!
//! New records go to young extents, a tenth of the whole; when one of these is given up, what was read meanwhile moves
//! to the old ones, and so does, when an old one is given up, what was read since it came there. So what is read once
//! sweeps through a tenth and no more.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::extent::{Entry, Extent, Found, Ring, index_pages};
use super::index::Index;
use super::open::{Open, Record};
use super::pages;
use super::record::{self, PAGE};

/// Extents of a small cache: written in one go, and giving one up is no event.
const EXTENT: u64 = 64 << 20;
/// So many extents at least, or one would be a large part of the whole.
const MIN_EXTENTS: u64 = 16;
/// About so many at most: each is an open file.
const MAX_EXTENTS: u64 = 1024;
/// The part of the whole that is for what has not been read again.
const YOUNG: u64 = 10;

/// An extent that is no longer written, and how many bytes its file takes.
type Sealed = (Arc<Extent>, u64);

/// The writer's own.
pub struct Writer {
    pub(super) directory: Arc<Directory>,
    index: Arc<Index>,
    /// What all files together may take.
    capacity: u64,
    /// The same, or less where the disk has less.
    limit: u64,
    /// In pages.
    extent_size: usize,
    next_generation: u32,
    /// Oldest first.
    sealed: [VecDeque<Sealed>; 2],
    open: [Option<Open>; 2],
    /// What was given up and could not be deleted.
    left: Vec<Sealed>,
    evicted: Box<dyn Fn() + Send>,
}

impl Writer {
    /// Goes on with what is in the directory, in the order of its generations.
    pub fn new(
        directory: Arc<Directory>,
        capacity: u64,
        index: Arc<Index>,
        extents: Vec<(Arc<Extent>, Found)>,
        evicted: Box<dyn Fn() + Send>,
    ) -> Self {
        let extent_size = EXTENT
            .max(capacity / MAX_EXTENTS)
            .min(capacity / MIN_EXTENTS);
        let last = extents
            .last()
            .map_or(0, |(extent, _)| extent.home.generation);
        let mut writer = Self {
            directory,
            index,
            capacity,
            limit: capacity,
            extent_size: (extent_size / PAGE as u64) as usize,
            next_generation: last.saturating_add(1),
            sealed: [VecDeque::new(), VecDeque::new()],
            open: [None, None],
            left: Vec::new(),
            evicted,
        };
        let newest = |ring| {
            let of_ring = extents.iter().filter(|(extent, _)| extent.ring == ring);
            of_ring.map(|(extent, _)| extent.home.generation).max()
        };
        let newest = [newest(Ring::Young), newest(Ring::Old)];
        for (extent, found) in extents {
            let is_newest = newest.contains(&Some(extent.home.generation));
            writer.take_over(extent, found, is_newest);
        }
        writer.make_room(0);
        writer
    }

    /// The newest of a ring is written on: restarts would otherwise leave many small ones. What a kill left without its
    /// index gets one, so that the next start need not look for it.
    fn take_over(&mut self, extent: Arc<Extent>, found: Found, is_newest: bool) {
        let ring = extent.ring;
        if (found.sealed && !is_newest) || extent.cut(found.end).is_err() {
            self.sealed[ring as usize].push_back((extent, found.bytes));
            return;
        }
        self.open[ring as usize] = Some(Open::new(extent, found.end, found.entries));
        if !is_newest && let Err(error) = self.seal_up(ring) {
            tracing::debug!(%error, "an extent of the disk cache stays unsealed");
        }
    }

    /// Appends a chunk; a small one waits for [`Self::flush`], or for others to be written with.
    ///
    /// # Errors
    /// The system's own; what was begun is given up, what was written before stays.
    pub fn keep(&mut self, record: &Record<'_>) -> io::Result<()> {
        // What is there already need not be written again; what waits is not looked through, and the later one holds.
        let name = record::name(&record.key.version.location, record.key.index);
        let tag = record::tag(&record.meta.etag);
        if let Some((extent, entry)) = self.index.find(name)
            && entry.tag == tag
            && let Ok(Some(head)) = extent.head(entry.page)
            && head.key == *record.key
        {
            return Ok(());
        }
        let ring = Ring::Young;
        let pages = record::pages(record.bytes.len() as u32);
        if pages + index_pages(1) > self.extent_size {
            return Ok(());
        }
        if !self.fits(ring, pages) {
            self.seal_up(ring)?;
            self.make_room(1);
            self.begin(ring)?;
        }
        self.append(ring, |open| open.append(record))
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The system's own; what waited is given up, what was written before stays.
    pub fn flush(&mut self) -> io::Result<()> {
        self.append(Ring::Young, Open::flush)
    }

    /// How many bytes its files take at most.
    pub fn bytes(&self) -> u64 {
        let sealed = self.sealed.iter().flatten().chain(&self.left);
        let sealed: u64 = sealed.map(|(_, bytes)| bytes).sum();
        // One that was written on may be of a time when extents were larger.
        let open = self.open.iter().flatten().map(|open| {
            let pages = open.pages_with(0, 0);
            (pages.max(self.extent_size) * PAGE) as u64
        });
        sealed + open.sum::<u64>()
    }

    /// The disk holds less than the capacity: no more than is there now, less an extent.
    pub fn is_full(&mut self) {
        let extent = self.extent_bytes();
        self.limit = self.bytes().saturating_sub(extent).max(3 * extent);
        self.make_room(0);
    }

    /// Seals what is being written, so that the next start need not look for it, and leaves the directory.
    pub fn finish(mut self) {
        for ring in [Ring::Young, Ring::Old] {
            if let Err(error) = self.seal_up(ring) {
                tracing::debug!(%error, "an extent of the disk cache stays unsealed");
            }
        }
        self.directory.leave();
    }

    /// Gives up everything.
    pub fn purge(&mut self) {
        self.index.clear();
        let open = self.open.iter_mut().filter_map(Option::take);
        let mut extents: Vec<Sealed> = open
            .map(|open| (open.extent, self.extent_size as u64 * PAGE as u64))
            .collect();
        extents.extend(self.sealed.iter_mut().flat_map(std::mem::take));
        self.left.append(&mut extents);
        self.delete_what_is_left();
        if let Err(error) = self.directory.sync() {
            tracing::warn!(%error, "what was given up of the disk cache may come back if the machine fails now");
        }
    }

    fn extent_bytes(&self) -> u64 {
        (self.extent_size * PAGE) as u64
    }

    fn fits(&self, ring: Ring, pages: usize) -> bool {
        let open = self.open[ring as usize].as_ref();
        open.is_some_and(|open| open.pages_with(1, pages) <= self.extent_size)
    }

    fn begin(&mut self, ring: Ring) -> io::Result<()> {
        if self.bytes() + self.extent_bytes() > self.limit {
            return Err(io::Error::other("there is no room to be made"));
        }
        let extent = loop {
            let generation = self.next_generation;
            self.next_generation = generation.saturating_add(1);
            match Extent::create(&self.directory, generation, ring) {
                // Another's file, or one that could not be opened at the start: there are so many of these and no more.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && generation < u32::MAX => {}
                created => break created?,
            }
        };
        // What was full may have room again: tried bit by bit.
        self.limit = self.capacity.min(self.limit + self.extent_bytes() / 8);
        let extent = Arc::new(extent);
        self.index.add(Arc::clone(&extent));
        self.open[ring as usize] = Some(Open::new(extent, 0, Vec::new()));
        Ok(())
    }

    /// Has something appended to the open extent of a ring, and what was written thereby known. Where that fails the
    /// extent is given up.
    fn append(
        &mut self,
        ring: Ring,
        work: impl FnOnce(&mut Open) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(open) = &mut self.open[ring as usize] else {
            return Ok(());
        };
        let known = open.entries.len();
        let done = work(open);
        let written = &open.entries[known..];
        if !written.is_empty() {
            self.index.insert(open.extent.home.generation, written);
        }
        if done.is_err() {
            self.abandon(ring);
        }
        done
    }

    /// Nothing more is put where a write failed; what is there stays readable.
    fn abandon(&mut self, ring: Ring) {
        let Some(open) = self.open[ring as usize].take() else {
            return;
        };
        let bytes = match open.extent.cut(open.page) {
            Ok(()) => (open.page * PAGE) as u64,
            Err(_) => self.extent_bytes(),
        };
        if open.entries.is_empty() {
            self.index.remove(open.extent.home.generation, Some(&[]));
            self.left.push((open.extent, bytes));
            self.delete_what_is_left();
        } else {
            self.sealed[ring as usize].push_back((open.extent, bytes));
        }
    }

    fn seal_up(&mut self, ring: Ring) -> io::Result<()> {
        self.append(ring, Open::flush)?;
        let ring = ring as usize;
        let Some(open) = self.open[ring].take() else {
            return Ok(());
        };
        let sealed = open.extent.seal(open.page, &open.entries);
        let pages = match sealed {
            Ok(()) => open.page + index_pages(open.entries.len()),
            // How much of it was written is not known.
            Err(_) => self.extent_size.max(open.page),
        };
        self.sealed[ring].push_back((open.extent, (pages * PAGE) as u64));
        sealed
    }

    /// Gives up extents until so many can be begun, and one more for what moves from those that are given up later.
    fn make_room(&mut self, extents: u64) {
        self.delete_what_is_left();
        let spare = if extents == 0 {
            0
        } else {
            (extents + 1) * self.extent_bytes()
        };
        while self.bytes() + spare > self.limit {
            let young: u64 = self.sealed[Ring::Young as usize]
                .iter()
                .map(|(_, bytes)| bytes)
                .sum();
            let (first, second) = if young > self.limit / YOUNG {
                (Ring::Young, Ring::Old)
            } else {
                (Ring::Old, Ring::Young)
            };
            let oldest = self.sealed[first as usize].pop_front();
            let oldest = oldest.or_else(|| self.sealed[second as usize].pop_front());
            let Some((extent, bytes)) = oldest else {
                return;
            };
            // Counted until it is deleted.
            self.left.push((Arc::clone(&extent), bytes));
            self.give_up(&extent);
            self.delete_what_is_left();
        }
    }

    fn give_up(&mut self, extent: &Arc<Extent>) {
        let found = extent.find().ok();
        let entries = found.as_ref().map(|found| &*found.entries);
        let mut left = self.extent_size / 2;
        for entry in entries.into_iter().flatten() {
            let pages = record::pages(entry.length);
            if pages <= left && self.index.is_used(extent.home.generation, entry) {
                left -= pages;
                if let Err(error) = self.move_on(extent, entry) {
                    tracing::debug!(%error, "what moves in the disk cache is lost");
                    break;
                }
            }
        }
        if let Err(error) = self.append(Ring::Old, Open::flush) {
            tracing::debug!(%error, "what moves in the disk cache is lost");
        }
        // Without its index some may not have been found, behind one that is damaged.
        let is_all = found.as_ref().is_some_and(|found| found.sealed);
        let entries = entries.filter(|_| is_all);
        let lost = self.index.remove(extent.home.generation, entries);
        for _ in 0..lost {
            (self.evicted)();
        }
    }

    fn delete_what_is_left(&mut self) {
        self.left.retain(|(extent, _)| {
            let deleted = extent.delete();
            if let Err(error) = &deleted {
                tracing::debug!(%error, "an extent of the disk cache cannot be deleted");
            }
            deleted.is_err()
        });
    }

    /// Copies a record to the old ring.
    fn move_on(&mut self, extent: &Extent, entry: &Entry) -> io::Result<()> {
        pages::with(record::pages(entry.length) * PAGE, |pages| {
            extent.read(entry.page, pages)?;
            let bytes = &pages[PAGE..][..entry.length as usize];
            let Some(head) = extent.decode(pages).filter(|head| head.vouches(bytes)) else {
                return Ok(());
            };
            if !self.fits(Ring::Old, record::pages(entry.length)) {
                self.seal_up(Ring::Old)?;
                self.begin(Ring::Old)?;
            }
            let record = Record {
                key: &head.key,
                meta: &head.meta,
                kept_at: head.kept_at,
                bytes,
            };
            self.append(Ring::Old, |open| open.append(&record))
        })
    }
}
