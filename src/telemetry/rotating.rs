//! A file that is only ever appended to, and put aside when it has grown: `audit.log`, before it `audit.log.1`, and so on.
//!
//! What is put aside was handed to the disk itself first (fsync(2)), and so was its new name. Never cuts a line in two:
//! what the system does not take stays in the buffer, in order, until it does or the buffer is full.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::audit_log::AuditConfig;

/// More than any line is long (a URI of 8 KiB, each byte escaped in six), so that none goes past the buffer in parts.
const BUFFER: usize = 128 << 10;
/// Whose subjects and objects these are is nobody else's business.
const MODE: u32 = 0o600;

/// The file in use.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    file: BufWriter<File>,
    size: u64,
}

impl Rotating {
    pub(super) fn open(config: &AuditConfig) -> io::Result<Self> {
        let (file, size) = open(&config.path)?;
        Ok(Self {
            path: config.path.clone(),
            max_size: config.max_size,
            keep: config.keep.max(1),
            file,
            size,
        })
    }

    /// Puts the file aside where a line of so many bytes would make it grow past its size. Where that fails the line has
    /// its place all the same.
    pub(super) fn make_room(&mut self, length: usize) -> io::Result<()> {
        let full = self.size > 0 && self.size + length as u64 > self.max_size;
        if full { self.rotate() } else { Ok(()) }
    }

    /// Appends a line.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Everything to the disk itself.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }

    /// The file that has this name now, where it was moved away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.sync()?;
        (self.file, self.size) = open(&self.path)?;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Where it fails the file grows on, and the next try comes after as much again.
        self.size = 0;
        self.sync()?;
        // Where the name is no longer this file's it was moved away: then there is nothing to put aside.
        if self.has_its_name()? {
            self.put_aside()?;
        }
        // The old file goes only once there is a new one.
        (self.file, self.size) = open(&self.path)?;
        let directory = self.path.parent().filter(|path| *path != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Whether the file in use is still the one that the name leads to.
    fn has_its_name(&self) -> io::Result<bool> {
        let used = self.file.get_ref().metadata()?;
        match fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (used.dev(), used.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn put_aside(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            unless_absent(fs::rename(self.aside(number), self.aside(number + 1)))?;
        }
        unless_absent(fs::rename(&self.path, self.aside(1)))
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

/// What is not there, or no longer, needs no other name.
fn unless_absent(renamed: io::Result<()>) -> io::Result<()> {
    match renamed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(MODE).open(path)?;
    let size = file.metadata()?.len();
    Ok((BufWriter::with_capacity(BUFFER, file), size))
}
