//! Memory that the kernel can send from: one anonymous file (memfd_create(2)), written by `pwrite`, mapped read-only.
//!
//! What lies here goes to a plain TCP socket by sendfile(2), without being copied once more. The one room with `unsafe`
//! in it: the mapping, and the slices of it.
//!
//! A page that sendfile has handed to a socket is referenced by it until the client has it, long after the call has
//! returned: written again, it would be other bytes on the wire. So a slot whose block was lent is cut out of the file
//! when it is given back (fallocate(2), FALLOC_FL_PUNCH_HOLE): the socket keeps the old pages, the slot gets new ones.

#![allow(
    unsafe_code,
    reason = "a mapping of the file, and slices of it; see Map"
)]

mod slots;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use slots::{BLOCK, Place, Slots};

/// Shorter, a copy costs less than what it takes to do without.
pub const MIN_SLOT: usize = 16 << 10;

/// Where the kernel says which anonymous files get huge pages. A hole in the middle of one would be made by writing
/// zeroes into it, under the eyes of a socket; where they are on, there is no arena.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
/// There wherever the kernel's settings can be seen.
const KERNEL_MEMORY: &str = "/sys/kernel/mm";

/// The memory, and who has what of it.
pub struct Arena {
    map: Map,
    slots: Mutex<Slots>,
    /// Per block: whether a socket may still refer to pages of it.
    lent: Box<[AtomicBool]>,
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
    /// The system has no such files, gives them huge pages, or the capacity is less than a block.
    pub fn new(capacity: u64) -> io::Result<Arc<Self>> {
        let blocks = usize::try_from(capacity / BLOCK as u64).map_err(io::Error::other)?;
        if blocks == 0 {
            return Err(io::Error::other("smaller than a block"));
        }
        if may_be_huge(std::fs::read_to_string(HUGE_PAGES)) {
            return Err(io::Error::other(format!(
                "{HUGE_PAGES} may give huge pages"
            )));
        }
        Ok(Arc::new(Self {
            map: Map::new(blocks * BLOCK)?,
            slots: Mutex::new(Slots::new(blocks)),
            lent: (0..blocks).map(|_| AtomicBool::new(false)).collect(),
        }))
    }

    /// A place for up to `length` bytes; none where there is no room, or it would not be worth it.
    pub fn slot(self: &Arc<Self>, length: usize) -> Option<Filling> {
        if !(MIN_SLOT..=BLOCK).contains(&length) {
            return None;
        }
        let place = self.slots().take(length)?;
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
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.map.offset(bytes).is_some()
    }

    /// Where the kernel finds these bytes, if they lie here: the file, and the offset in it. Counts as lent from now on.
    pub fn lend(&self, bytes: &[u8]) -> Option<(BorrowedFd<'_>, u64)> {
        let offset = self.map.offset(bytes)?;
        self.lent[offset / BLOCK].store(true, Ordering::Release);
        Some((self.map.file.as_fd(), offset as u64))
    }

    fn give_back(&self, place: Place) {
        let lent = &self.lent[place.block];
        if lent.load(Ordering::Acquire)
            && let Err(error) = self.map.punch(place.offset(), place.size())
        {
            // Never written again: memory is lost until the end, bytes are not.
            tracing::warn!(%error, "memory that was sent from cannot be renewed and is given up");
            return;
        }
        let mut slots = self.slots();
        if slots.give_back(place) {
            // Under the lock: who cuts this block next may lend it at once, and that must stand.
            lent.store(false, Ordering::Release);
        }
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
    ///
    /// # Errors
    /// The system is out of memory; what is there already stays.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bytes = &bytes[..bytes.len().min(self.room())];
        let at = (self.slot.place.offset() + self.filled) as u64;
        self.slot.arena.map.file.write_all_at(bytes, at)?;
        self.filled += bytes.len();
        Ok(())
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

/// The file and its mapping.
///
/// Sound because: the mapping is read-only, lives as long as `self`, and covers the whole file, which is never made
/// shorter; slices are made of filled bytes alone, those are written once, by the slot's one `Filling`, before any slice of
/// them is made (it goes on writing behind them, in the same page maybe, and never in them), and are written again or
/// cut out only when the slot and with it its last slice is gone: each slice holds the slot.
struct Map {
    base: NonNull<u8>,
    length: usize,
    file: File,
}

// SAFETY: the mapping is memory like any other; nothing about it belongs to a thread.
unsafe impl Send for Map {}
// SAFETY: as above; what is shared is only read.
unsafe impl Sync for Map {}

impl Map {
    fn new(length: usize) -> io::Result<Self> {
        let file = File::from(memfd_create("lockgate-cache", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, length as u64)?;
        // SAFETY: a new mapping at an address that the kernel chooses, of a file that nobody else has.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped nowhere"))?;
        Ok(Self { base, length, file })
    }

    fn slice(&self, offset: usize, length: usize) -> &[u8] {
        assert!(
            offset <= self.length && length <= self.length - offset,
            "a slot lies in the map"
        );
        // SAFETY: within the mapping, by the line above; not written while the slice lives, by the type's invariant.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), length) }
    }

    fn offset(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.base.as_ptr() as usize)?;
        (offset < self.length && bytes.len() <= self.length - offset).then_some(offset)
    }

    /// Gives the pages back to the system; those that a socket refers to live on there, unchanged.
    fn punch(&self, offset: usize, length: usize) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, flags, offset as u64, length as u64)?)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and every slice borrowed from `self`.
        if let Err(error) = unsafe { munmap(self.base.as_ptr().cast(), self.length) } {
            tracing::warn!(%error, "the cache's memory cannot be unmapped");
        }
    }
}

/// Whether the setting in force, the one in brackets, may give huge pages to files that did not ask. A kernel that has
/// none has no such setting; where the kernel's own files are not to be seen, nobody knows.
fn may_be_huge(setting: io::Result<String>) -> bool {
    match setting {
        Ok(setting) => ["[always]", "[within_size]", "[force]"]
            .iter()
            .any(|on| setting.contains(on)),
        Err(error) => error.kind() != io::ErrorKind::NotFound || !Path::new(KERNEL_MEMORY).exists(),
    }
}

#[cfg(test)]
mod tests;
