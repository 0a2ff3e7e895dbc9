//! An extent: one file that records are appended to until it is full, and then no more. What was written is never
//! written over, only deleted, so that who reads from it while it goes reads on undisturbed.
//!
//! A sealed extent ends with its index and a page that says where that is; one that was not sealed is found out about
//! record by record.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::pwritev;

use super::directory::Directory;
use super::pages::{self, Pages};
use super::record::{self, Head, Home, PAGE};
use crate::cache::CHUNK_SIZE;

/// What a sealed extent's last page begins with; the digit is the format's version.
const SEAL: &[u8; 8] = b"LOCKSEA2";
/// A name, the page its record begins at, its length, its version's tag.
const ENTRY: usize = 16 + 4 + 4 + 2;

/// Which extents a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// What has not been read again yet.
    Young,
    /// What has.
    Old,
}

/// A file of records.
#[derive(Debug)]
pub struct Extent {
    /// Where its records say that they are.
    pub home: Home,
    /// What it holds.
    pub ring: Ring,
    directory: Arc<Directory>,
    file: File,
}

/// Where a record lies in its extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// See [`record::name`].
    pub name: u128,
    /// The page that its head is on.
    pub page: u32,
    /// Length of its bytes.
    pub length: u32,
    /// See [`record::tag`].
    pub tag: u16,
}

impl Entry {
    /// A record's that begins at a page.
    pub fn of(head: &Head, page: usize) -> Self {
        Self {
            name: head.name(),
            // An extent has fewer pages.
            page: page as u32,
            length: head.length,
            tag: record::tag(&head.meta.etag),
        }
    }
}

/// What was found in an extent.
#[derive(Debug, Default)]
pub struct Found {
    /// Its records, in the order written; what is not whole is left out.
    pub entries: Vec<Entry>,
    /// The page behind the last of them.
    pub end: usize,
    /// Whether an index follows there.
    pub sealed: bool,
    /// How long the file is.
    pub bytes: u64,
}

impl Ring {
    /// How its files' names end.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Young => "young",
            Self::Old => "old",
        }
    }
}

impl Extent {
    /// A new one.
    ///
    /// # Errors
    /// The system's own.
    pub fn create(directory: &Arc<Directory>, generation: u32, ring: Ring) -> io::Result<Self> {
        let name = file_name(generation, ring);
        let mut options = OpenOptions::new();
        // Made by this process and nobody before it.
        options.read(true).write(true).create_new(true);
        let file = open(&directory.path.join(name), &mut options)?;
        Ok(Self::new(directory, generation, ring, file))
    }

    /// One that is there already; none where the name is not an extent's.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(directory: &Arc<Directory>, path: &Path) -> io::Result<Option<Self>> {
        let name = path.file_name().and_then(|name| name.to_str());
        let parts = name.and_then(|name| name.split_once('.'));
        let Some((number, suffix)) = parts else {
            return Ok(None);
        };
        let rings = [Ring::Young, Ring::Old];
        let ring = rings.into_iter().find(|ring| ring.suffix() == suffix);
        let (Ok(generation), Some(ring)) = (u32::from_str_radix(number, 16), ring) else {
            return Ok(None);
        };
        // A name that only reads like one is not of this cache's making.
        if name != Some(&*file_name(generation, ring)) {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        let file = match open(path, options.read(true).write(true)) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                open(path, options.write(false))?
            }
            opened => opened?,
        };
        Ok(Some(Self::new(directory, generation, ring, file)))
    }

    fn new(directory: &Arc<Directory>, generation: u32, ring: Ring, file: File) -> Self {
        let home = Home {
            directory: directory.id,
            generation,
        };
        Self {
            home,
            ring,
            directory: directory.clone(),
            file,
        }
    }

    /// Writes a record whose bytes lie at a page's beginning and fill whole pages: past any copy.
    ///
    /// # Errors
    /// The system's own; not all of it was taken.
    pub fn write_whole(&self, page: u32, head: &[u8; PAGE], bytes: &[u8]) -> io::Result<()> {
        self.before_writing()?;
        let pieces = [IoSlice::new(head), IoSlice::new(bytes)];
        let at = u64::from(page) * PAGE as u64;
        let written = pwritev(&self.file, &pieces, at)?;
        match written
            .checked_sub(PAGE)
            .and_then(|written| bytes.get(written..))
        {
            // Where the disk is full, the rest says so.
            Some(rest) => self.file.write_all_at(rest, at + written as u64),
            None => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Writes whole pages.
    ///
    /// # Errors
    /// The system's own.
    pub fn write(&self, page: u32, pages: &[u8]) -> io::Result<()> {
        self.before_writing()?;
        self.file.write_all_at(pages, u64::from(page) * PAGE as u64)
    }

    /// Reads whole pages.
    ///
    /// # Errors
    /// The system's own; the file ends before.
    pub fn read(&self, page: u32, pages: &mut [u8]) -> io::Result<()> {
        #[cfg(test)]
        self.directory.faults.read()?;
        self.file
            .read_exact_at(pages, u64::from(page) * PAGE as u64)
    }

    #[cfg(test)]
    fn before_writing(&self) -> io::Result<()> {
        self.directory.faults.write()
    }

    #[cfg(not(test))]
    fn before_writing(&self) -> io::Result<()> {
        Ok(())
    }

    /// The head of the record at a page; none where there is none of this extent.
    ///
    /// # Errors
    /// The system's own.
    pub fn head(&self, page: u32) -> io::Result<Option<Head>> {
        pages::with(PAGE, |bytes| {
            self.read(page, bytes)?;
            Ok(self.decode(bytes))
        })
    }

    /// The head that these pages begin with; none where there is none of this extent.
    pub fn decode(&self, pages: &[u8]) -> Option<Head> {
        let head = pages.first_chunk().and_then(Head::decode);
        head.filter(|head| head.home == self.home)
    }

    /// Writes the index behind the last record.
    ///
    /// # Errors
    /// The system's own.
    pub fn seal(&self, page: usize, entries: &[Entry]) -> io::Result<()> {
        let length = (entries.len() * ENTRY).next_multiple_of(PAGE);
        let mut pages = Pages::new(length + PAGE);
        let (index, seal) = pages.bytes().split_at_mut(length);
        for (entry, room) in entries.iter().zip(index.chunks_exact_mut(ENTRY)) {
            room[..16].copy_from_slice(&entry.name.to_le_bytes());
            room[16..20].copy_from_slice(&entry.page.to_le_bytes());
            room[20..24].copy_from_slice(&entry.length.to_le_bytes());
            room[24..].copy_from_slice(&entry.tag.to_le_bytes());
        }
        seal[..8].copy_from_slice(SEAL);
        seal[8..16].copy_from_slice(&self.home.directory.to_le_bytes());
        seal[16..20].copy_from_slice(&self.home.generation.to_le_bytes());
        seal[20..24].copy_from_slice(&(entries.len() as u32).to_le_bytes());
        let sum = record::sum([&*index, &seal[..24]]);
        seal[24..32].copy_from_slice(&sum.to_le_bytes());
        self.write(page as u32, pages.bytes())
    }

    /// Cuts off what follows a page: an index, or a record that was not written to its end.
    ///
    /// # Errors
    /// The system's own.
    pub fn cut(&self, page: usize) -> io::Result<()> {
        self.before_writing()?;
        self.file.set_len((page * PAGE) as u64)
    }

    /// What is in it, sealed or not.
    ///
    /// # Errors
    /// The system's own.
    pub fn find(&self) -> io::Result<Found> {
        let bytes = self.file.metadata()?.len();
        let pages = u32::try_from(bytes / PAGE as u64);
        // No extent is so long.
        let pages = pages.map_err(io::Error::other)?;
        let found = match self.sealed(pages)? {
            Some(found) => found,
            None => self.scan(pages)?,
        };
        Ok(Found { bytes, ..found })
    }

    fn sealed(&self, pages: u32) -> io::Result<Option<Found>> {
        let Some(last) = pages.checked_sub(1) else {
            return Ok(None);
        };
        let seal = pages::with(PAGE, |bytes| {
            self.read(last, bytes)?;
            Ok::<_, io::Error>(bytes[..32].to_vec())
        })?;
        let own = seal[..8] == *SEAL
            && record::long(&seal, 8) == self.home.directory
            && record::word(&seal, 16) == self.home.generation;
        let count = record::word(&seal, 20) as usize;
        let first = (last as usize).checked_sub((count * ENTRY).div_ceil(PAGE));
        let Some(first) = first.filter(|_| own) else {
            return Ok(None);
        };
        let mut index = Pages::new((last as usize - first) * PAGE);
        self.read(first as u32, index.bytes())?;
        if record::sum([&*index.bytes(), &seal[..24]]) != record::long(&seal, 24) {
            return Ok(None);
        }
        let entries = index.bytes().chunks_exact(ENTRY).take(count).map(entry);
        let entries: Vec<_> = entries.collect();
        let within = |entry: &Entry| {
            u64::from(entry.length) <= CHUNK_SIZE
                && entry.page as usize + record::pages(entry.length) <= first
        };
        if !entries.iter().all(within) {
            return Ok(None);
        }
        Ok(Some(Found {
            entries,
            end: first,
            sealed: true,
            bytes: 0,
        }))
    }

    fn scan(&self, pages: u32) -> io::Result<Found> {
        let mut found = Found::default();
        while found.end < pages as usize {
            let Some(head) = self.head(found.end as u32)? else {
                break;
            };
            let next = found.end + record::pages(head.length);
            if next > pages as usize {
                break;
            }
            found.entries.push(Entry::of(&head, found.end));
            found.end = next;
        }
        Ok(found)
    }

    /// Takes the file away; who reads from it reads on.
    ///
    /// # Errors
    /// The system's own; not that it is gone already.
    pub fn delete(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory
            .path
            .join(file_name(self.home.generation, self.ring))
    }
}

fn file_name(generation: u32, ring: Ring) -> String {
    format!("{generation:08x}.{}", ring.suffix())
}

fn entry(bytes: &[u8]) -> Entry {
    Entry {
        name: u128::from(record::long(bytes, 0)) | u128::from(record::long(bytes, 8)) << 64,
        page: record::word(bytes, 16),
        length: record::word(bytes, 20),
        tag: u16::from_le_bytes([bytes[24], bytes[25]]),
    }
}

/// Pages that an index of so many entries takes, with its seal.
pub fn index_pages(entries: usize) -> usize {
    (entries * ENTRY).div_ceil(PAGE) + 1
}

/// Past the page cache where the file system allows it: what is cached in memory is kept by the memory tier, and what
/// is written shall push nothing out.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // A link in the directory is nobody's but an attacker's.
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let file = options.mode(0o600).custom_flags(flags).open(path)?;
    // Asked for afterwards, because open(2) may leave a new file behind where it fails for that. A file system that has
    // no such way says so (fcntl(2), EINVAL).
    if let Err(error) = fcntl_getfl(&file).and_then(|is| fcntl_setfl(&file, is | OFlags::DIRECT)) {
        tracing::debug!(%error, "the disk cache goes through the page cache");
    }
    Ok(file)
}
