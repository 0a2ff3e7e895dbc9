//! The cache's own directory: for one process at a time, with a number of its own that every record in it carries.
//!
//! What an operator's copy brings here from another cache is thereby foreign, and not believed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file that is locked; the directory's number stands in it.
const LOCK: &str = "lockgate-cache";

/// A directory that this process has for itself.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Its number.
    pub id: u64,
    /// Held for as long as the cache is open.
    lock: File,
    /// What the tests make of reading and writing.
    #[cfg(test)]
    pub faults: std::sync::Arc<super::tests::Faults>,
}

impl Directory {
    /// Makes it where it is missing, for this user alone, and takes it.
    ///
    /// # Errors
    /// The system's own; another process has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        make(path)?;
        let file = path.join(LOCK);
        let mut options = OpenOptions::new();
        let options = options.read(true).mode(0o600);
        let lock = match options.clone().write(true).create(true).open(&file) {
            // What is on a file system that became read-only can still be read.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                options.open(&file)?
            }
            opened => opened?,
        };
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another process uses it"))?;
        Ok(Self {
            path: path.to_owned(),
            id: number(&lock)?,
            lock,
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        })
    }
}

impl Directory {
    /// What was deleted stays so, whatever happens to the machine.
    ///
    /// # Errors
    /// The system's own.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// It is another's to take from here on.
    pub fn leave(&self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::debug!(%error, "the disk cache's directory stays locked");
        }
    }
}

/// Makes a directory where it is missing, for this user alone.
///
/// # Errors
/// The system's own.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The number in the file, or a new one where there is none.
fn number(mut file: &File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    if file.metadata()?.len() == 8 {
        file.read_exact_at(&mut bytes, 0)?;
        return Ok(u64::from_le_bytes(bytes));
    }
    let drawn = fastrand::u64(..);
    file.set_len(0)?;
    file.write_all(&drawn.to_le_bytes())?;
    Ok(drawn)
}
