//! Lays a directory of the disk cache with the index of so many records and none of their bytes: where these would be
//! the files have holes. So a start over ten million records can be looked at on any disk.
//!
//! Made of the room's own files, which write the index as they always do. What is read there is damaged, as it must be.

#![allow(dead_code, reason = "not all of a room is used here")]

#[path = "cache/disk/directory.rs"]
mod directory;
#[path = "cache/disk/extent.rs"]
mod extent;
#[path = "cache/disk/pages.rs"]
mod pages;
#[path = "cache/disk/record.rs"]
mod record;

use std::io;
use std::path::Path;
use std::sync::Arc;

use directory::Directory;
use extent::{Entry, Extent, Ring};

/// As many as a cache of 200 GiB has in each of its files where they are small.
const IN_AN_EXTENT: usize = 25_000;
/// A thumbnail of the smallest kind: a page, beside its head.
const LENGTH: u32 = 1000;

/// Lays so many records.
pub fn lay(directory: &Path, count: usize) -> io::Result<()> {
    let directory = Arc::new(Directory::open(directory)?);
    for generation in 0..count.div_ceil(IN_AN_EXTENT) {
        let records = IN_AN_EXTENT.min(count - generation * IN_AN_EXTENT);
        let pages = record::pages(LENGTH);
        let entries = (0..records).map(|number| Entry {
            name: fastrand::u128(..),
            page: (number * pages) as u32,
            length: LENGTH,
            tag: fastrand::u16(..),
        });
        let entries: Vec<Entry> = entries.collect();
        let extent = Extent::create(&directory, generation as u32 + 1, Ring::Young)?;
        extent.seal(records * pages, &entries)?;
    }
    Ok(())
}
