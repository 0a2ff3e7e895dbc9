//! An extent: one file that records are appended to until it is full, and then no more. Never written again, only
//! deleted, so that who reads from it while it goes reads on undisturbed.
//!
//! A sealed extent ends with its index and a page that says where that is; one that was not sealed is found out about
//! record by record.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::record::{self, Head, PAGE};

/// What a sealed extent's last page begins with.
const SEAL: &[u8; 8] = b"LOCKSEAL";
/// A name, the page its record begins at, its length.
const ENTRY: usize = 16 + 4 + 4;

/// A file of records.
#[derive(Debug)]
pub struct Extent {
    /// Its number; a later one's is higher.
    pub generation: u64,
    path: PathBuf,
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
}

/// Memory as O_DIRECT wants it: its bytes begin at a page.
#[derive(Debug)]
pub struct Pages {
    bytes: Vec<u8>,
    start: usize,
}

impl Pages {
    /// So many bytes, which is a multiple of the page.
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start }
    }

    /// From the first page on.
    pub fn bytes(&mut self) -> &mut [u8] {
        let length = self.bytes.len() - PAGE;
        &mut self.bytes[self.start..self.start + length]
    }

    /// These bytes of them, kept as they are.
    pub fn part(self, range: std::ops::Range<usize>) -> bytes::Bytes {
        let start = self.start;
        bytes::Bytes::from(self.bytes).slice(start + range.start..start + range.end)
    }
}

impl Extent {
    /// A new one.
    ///
    /// # Errors
    /// The system's own.
    pub fn create(directory: &Path, generation: u64) -> io::Result<Self> {
        let path = directory.join(format!("{generation:016x}.extent"));
        let file = open(&path, true)?;
        Ok(Self {
            generation,
            path,
            file,
        })
    }

    /// One that is there already; none where the name is not an extent's.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let name = path.file_name().and_then(|name| name.to_str());
        let generation = name
            .and_then(|name| name.strip_suffix(".extent"))
            .and_then(|number| u64::from_str_radix(number, 16).ok());
        let Some(generation) = generation else {
            return Ok(None);
        };
        let file = open(path, false)?;
        Ok(Some(Self {
            generation,
            path: path.to_owned(),
            file,
        }))
    }

    /// Writes whole pages.
    ///
    /// # Errors
    /// The system's own.
    pub fn write(&self, page: u32, pages: &[u8]) -> io::Result<()> {
        self.file.write_all_at(pages, u64::from(page) * PAGE as u64)
    }

    /// Reads whole pages.
    ///
    /// # Errors
    /// The system's own; the file ends before.
    pub fn read(&self, page: u32, pages: &mut [u8]) -> io::Result<()> {
        self.file
            .read_exact_at(pages, u64::from(page) * PAGE as u64)
    }

    /// The record at a page; none where there is none of this extent.
    ///
    /// # Errors
    /// The system's own.
    pub fn head(&self, page: u32) -> io::Result<Option<Head>> {
        let mut pages = Pages::new(PAGE);
        self.read(page, pages.bytes())?;
        let head = <&[u8; PAGE]>::try_from(&*pages.bytes())
            .ok()
            .and_then(Head::decode);
        Ok(head.filter(|head| head.generation == self.generation))
    }

    /// Writes the index behind the last record.
    ///
    /// # Errors
    /// The system's own.
    pub fn seal(&self, page: u32, entries: &[Entry]) -> io::Result<()> {
        let length = (entries.len() * ENTRY).next_multiple_of(PAGE);
        let mut pages = Pages::new(length + PAGE);
        let bytes = pages.bytes();
        for (entry, room) in entries.iter().zip(bytes.chunks_exact_mut(ENTRY)) {
            room[..16].copy_from_slice(&entry.name.to_le_bytes());
            room[16..20].copy_from_slice(&entry.page.to_le_bytes());
            room[20..].copy_from_slice(&entry.length.to_le_bytes());
        }
        let sum = record::sum(&bytes[..length]);
        let seal = &mut bytes[length..];
        seal[..8].copy_from_slice(SEAL);
        seal[8..16].copy_from_slice(&self.generation.to_le_bytes());
        seal[16..20].copy_from_slice(&(entries.len() as u32).to_le_bytes());
        seal[20..24].copy_from_slice(&sum.to_le_bytes());
        self.write(page, bytes)
    }

    /// What is in it, sealed or not, in the order written; what is not whole is left out.
    ///
    /// # Errors
    /// The system's own.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let pages = (self.file.metadata()?.len() / PAGE as u64) as u32;
        match self.sealed(pages)? {
            Some(entries) => Ok(entries),
            None => self.scan(pages),
        }
    }

    fn sealed(&self, pages: u32) -> io::Result<Option<Vec<Entry>>> {
        let Some(last) = pages.checked_sub(1) else {
            return Ok(Some(Vec::new()));
        };
        let mut seal = Pages::new(PAGE);
        self.read(last, seal.bytes())?;
        let seal = seal.bytes();
        let word =
            |at: usize| u32::from_le_bytes([seal[at], seal[at + 1], seal[at + 2], seal[at + 3]]);
        if seal[..8] != *SEAL || seal[8..16] != self.generation.to_le_bytes() {
            return Ok(None);
        }
        let (count, sum) = (word(16) as usize, word(20));
        let length = count.saturating_mul(ENTRY).next_multiple_of(PAGE);
        let Some(first) = u32::try_from(length / PAGE)
            .ok()
            .and_then(|index| last.checked_sub(index))
        else {
            return Ok(None);
        };
        let mut index = Pages::new(length);
        self.read(first, index.bytes())?;
        if record::sum(index.bytes()) != sum {
            return Ok(None);
        }
        let entry = |bytes: &[u8]| {
            let mut name = [0; 16];
            name.copy_from_slice(&bytes[..16]);
            Entry {
                name: u128::from_le_bytes(name),
                page: u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]),
                length: u32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]),
            }
        };
        Ok(Some(
            index
                .bytes()
                .chunks_exact(ENTRY)
                .take(count)
                .map(entry)
                .collect(),
        ))
    }

    fn scan(&self, pages: u32) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut page = 0;
        while page < pages {
            let Some(head) = self.head(page)? else { break };
            let next = u64::from(page) + record::pages(head.length) as u64;
            if next > u64::from(pages) {
                break;
            }
            entries.push(Entry {
                name: head.name(),
                page,
                length: head.length,
            });
            page = next as u32;
        }
        Ok(entries)
    }

    /// Takes the file away; who reads from it reads on.
    ///
    /// # Errors
    /// The system's own.
    pub fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Pages that an index of so many entries takes, with its seal.
pub fn index_pages(entries: usize) -> usize {
    (entries * ENTRY).div_ceil(PAGE) + 1
}

/// Past the page cache where the file system allows it: what is cached in memory is kept by the memory tier, and what
/// is written shall push nothing out.
fn open(path: &Path, create: bool) -> io::Result<File> {
    let with = |flags: OFlags| {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(create)
            .create(create)
            .truncate(create);
        options
            .mode(0o600)
            .custom_flags(flags.bits() as i32)
            .open(path)
    };
    match with(OFlags::DIRECT) {
        // The file system has no such way (open(2), EINVAL).
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            with(OFlags::empty())
        }
        opened => opened,
    }
}
