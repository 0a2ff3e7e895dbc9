//! A file that is only ever appended to, and put aside when it has grown: `audit.log`, before it `audit.log.1`, and so on.
//!
//! What is put aside was handed to the disk itself first (fsync(2)), and so was its new name. Never cuts a line in two:
//! what the system does not take stays in the buffer, in order, until it does or the buffer is full.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
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

    /// Appends a line, after putting the file aside where it would grow past its size.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let full = self.size > 0 && self.size + length > self.max_size;
        let rotated = if full { self.rotate() } else { Ok(()) };
        self.file.write_all(line)?;
        self.size += length;
        rotated
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
        for number in (1..self.keep).rev() {
            match fs::rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, self.aside(1))?;
        (self.file, self.size) = open(&self.path)?;
        let directory = self.path.parent().filter(|path| *path != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(MODE).open(path)?;
    let size = file.metadata()?.len();
    Ok((BufWriter::with_capacity(BUFFER, file), size))
}
