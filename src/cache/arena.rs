//! Memory that chunks are kept in: one anonymous mapping, cut into slots that are filled once and read by many.
//!
//! Taken from the system two megabytes at a time as they are needed, as huge pages where those come cheap, and hardly
//! given back: what a chunk leaves the next one is filled into, without a page fault. The one room with `unsafe` in it:
//! the mapping, the slices of it, and writing behind them.

#![allow(
    unsafe_code,
    reason = "a mapping, slices of it, and writes behind them; see Map"
)]

mod paging;
mod slots;

use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use paging::{Pages, Paging};
use slots::{BLOCK, MAX_SLOT, Place, Slots};

/// Shorter, what a slot costs beside its bytes would count.
pub const MIN_SLOT: usize = 16 << 10;
/// What nobody has and is memory all the same, at most: an eighth of all, and no more than this. It is for the chunks that
/// come next; without a bound, a cache of videos that becomes one of thumbnails would hold the memory of both.
const SPARE: usize = 64 << 20;

/// The memory, and who has what of it.
pub struct Arena {
    map: Map,
    slots: Mutex<Slots>,
    paging: Mutex<Paging>,
}

/// A slot that is being filled. What is filled in is read already while the rest is still to come.
pub struct Filling {
    slot: Arc<Slot>,
    length: usize,
    filled: usize,
}

/// A slot in somebody's hands; given back when the last of them lets go.
struct Slot {
    arena: Arc<Arena>,
    place: Place,
}

/// The first bytes of a slot, which do not change any more.
struct Filled {
    slot: Arc<Slot>,
    length: usize,
}

impl Arena {
    /// An arena of `capacity` bytes, rounded down to whole blocks. Memory is taken as it is filled.
    ///
    /// # Errors
    /// The system has no such room of addresses, or the capacity is less than a block.
    pub fn new(capacity: u64) -> io::Result<Arc<Self>> {
        let blocks = usize::try_from(capacity / BLOCK as u64).map_err(io::Error::other)?;
        if blocks == 0 {
            return Err(io::Error::other("smaller than a block"));
        }
        Ok(Arc::new(Self {
            map: Map::new(blocks * BLOCK)?,
            slots: Mutex::new(Slots::new(blocks, SPARE.min(blocks * BLOCK / 8))),
            paging: Mutex::new(Paging::default()),
        }))
    }

    /// A place for up to `length` bytes; none where there is no room, or it would not be worth it.
    pub fn slot(self: &Arc<Self>, length: usize) -> Option<Filling> {
        if !(MIN_SLOT..=MAX_SLOT).contains(&length) {
            return None;
        }
        let (place, is_new) = self.slots().take(length)?;
        if is_new {
            self.page_in(place.block);
        }
        let slot = Arc::new(Slot {
            arena: Arc::clone(self),
            place,
        });
        Some(Filling {
            slot,
            length,
            filled: 0,
        })
    }

    /// Whether these bytes lie here.
    #[cfg(test)]
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        let (base, at) = (self.map.base.as_ptr() as usize, bytes.as_ptr() as usize);
        (base..base + self.map.length).contains(&at)
    }

    /// Takes a block from the system at once, which costs a fraction of taking it fault by fault. Who has another slot of
    /// it may fill that meanwhile: the system sorts that out.
    fn page_in(&self, block: usize) {
        let pages = self.paging().next();
        let begun = Instant::now();
        self.map.page_in(block * BLOCK, pages);
        self.paging().took(pages, begun.elapsed());
    }

    fn give_back(&self, place: Place) {
        let mut next = self.slots().give_back(place);
        while let Some(surplus) = next {
            let (offset, length) = surplus.extent();
            // SAFETY: it was the slot's, or is a block without one in use, and is in nobody's reach until it is `gone`.
            unsafe { self.map.let_go(offset, length) };
            next = self.slots().gone(surplus);
        }
    }

    fn paging(&self) -> MutexGuard<'_, Paging> {
        self.paging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // No code panics while it holds the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("bytes", &self.map.length)
            .finish_non_exhaustive()
    }
}

impl Filling {
    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.length - self.filled
    }

    /// Appends bytes, of which no more than there is room for.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.room())];
        let Slot { arena, place } = &*self.slot;
        // SAFETY: behind what was filled, so in no slice, and within the slot, which has no other `Filling`.
        unsafe { arena.map.write(place.offset() + self.filled, bytes) };
        self.filled += bytes.len();
    }

    /// The bytes so far, which from now on do not change; the slot is given back with the last of them.
    pub fn filled(&self) -> Bytes {
        Bytes::from_owner(Filled {
            slot: Arc::clone(&self.slot),
            length: self.filled,
        })
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        let Slot { arena, place } = &*self.slot;
        arena.map.slice(place.offset(), self.length)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.arena.give_back(self.place);
    }
}

/// The mapping.
///
/// Sound because: it lives as long as `self`; slices are made of filled bytes alone, those are written once, by the slot's
/// one `Filling`, before any slice of them is made (it goes on writing behind them and never in them, through a pointer),
/// and are written again, or given back to the system, only when the slot and with it its last slice is gone: each slice holds the slot.
struct Map {
    /// Where the first block begins, at a multiple of its length.
    base: NonNull<u8>,
    length: usize,
    /// What was mapped: more, so that such a multiple lies in it.
    mapped: (NonNull<u8>, usize),
}

// SAFETY: the mapping is memory like any other; nothing about it belongs to a thread.
unsafe impl Send for Map {}
// SAFETY: as above; what is shared is only read.
unsafe impl Sync for Map {}

impl Map {
    fn new(length: usize) -> io::Result<Self> {
        let too_long = || io::Error::other("longer than addresses go");
        let asked = length.checked_add(BLOCK).ok_or_else(too_long)?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let mapped = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                asked,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let mapped: NonNull<u8> =
            NonNull::new(mapped.cast()).ok_or_else(|| io::Error::other("mapped nowhere"))?;
        let before = mapped.as_ptr().align_offset(BLOCK);
        // SAFETY: `before` is less than a region, by which what was mapped is longer than `length`.
        let base = unsafe { mapped.add(before) };
        Ok(Self {
            base,
            length,
            mapped: (mapped, asked),
        })
    }

    /// Takes a block from the system, which would do it by itself, page by page, as it is written to.
    fn page_in(&self, offset: usize, pages: Pages) {
        let length = BLOCK.min(self.length - offset);
        let advice = match pages {
            Pages::Huge => Advice::LinuxHugepage,
            Pages::Small => Advice::LinuxNoHugepage,
        };
        for advice in [advice, Advice::LinuxPopulateWrite] {
            // SAFETY: within the mapping; neither advice changes what is read there.
            if let Err(error) =
                unsafe { madvise(self.base.as_ptr().add(offset).cast(), length, advice) }
            {
                // A kernel that cannot (madvise(2): 5.14, and without huge pages) does without.
                tracing::trace!(%error, "memory is not taken ahead");
            }
        }
    }

    /// Gives memory back to the system.
    ///
    /// # Safety
    /// No slice of it lives, and nobody writes to it.
    unsafe fn let_go(&self, offset: usize, length: usize) {
        self.check(offset, length);
        // SAFETY: within the mapping, by the line above; what was there is of no interest, by this function's terms.
        let gone = unsafe {
            let from = self.base.as_ptr().add(offset);
            madvise(from.cast(), length, Advice::LinuxDontNeed)
        };
        if let Err(error) = gone {
            tracing::debug!(%error, "memory that is not needed is kept");
        }
    }

    /// Writes bytes.
    ///
    /// # Safety
    /// No slice of these bytes lives, and nobody else writes to them.
    unsafe fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: within the mapping, by the line above; `bytes` is a slice, so lies elsewhere, by this function's terms.
        unsafe {
            let to = self.base.as_ptr().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    fn slice(&self, offset: usize, length: usize) -> &[u8] {
        self.check(offset, length);
        // SAFETY: within the mapping, by the line above; not written while the slice lives, by the type's invariant.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), length) }
    }

    fn check(&self, offset: usize, length: usize) {
        assert!(
            offset <= self.length && length <= self.length - offset,
            "a slot lies in the map"
        );
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let (mapped, length) = self.mapped;
        // SAFETY: mapped by `new` with this length, and every slice borrowed from `self`.
        if let Err(error) = unsafe { munmap(mapped.as_ptr().cast(), length) } {
            tracing::warn!(%error, "the cache's memory cannot be unmapped");
        }
    }
}

#[cfg(test)]
mod tests;
