//! The cache's own directory: for one process at a time, with a number of its own that every record in it carries.
//!
//! What an operator's copy brings here from another cache is thereby foreign, and not believed.

use std::fs::{DirBuilder, DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::{getegid, geteuid, getgroups};

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
        check_owner(path)?;
        check_use(path)?;
        let file = path.join(LOCK);
        let mut options = OpenOptions::new();
        // It is written to: never what a link leads to.
        let flags = OFlags::NOFOLLOW.bits() as i32;
        let options = options.read(true).mode(0o600).custom_flags(flags);
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

/// Whoever may write to the directory may put there what is served as media: only this user may, and root, and a group
/// that this process is of, as Kubernetes hands over a volume (`fsGroup`).
fn check_owner(path: &Path) -> io::Result<()> {
    let directory = std::fs::metadata(path)?;
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let (owner, group, mode) = (directory.uid(), directory.gid(), directory.mode());
    if owner != geteuid().as_raw() && owner != 0 {
        return refused("it is another user's; name a directory of this user's own");
    }
    let of_group = || {
        group == getegid().as_raw()
            || getgroups().is_ok_and(|of| of.iter().any(|of| of.as_raw() == group))
    };
    if mode & 0o002 != 0 || (mode & 0o020 != 0 && !of_group()) {
        return refused(
            "others may write to it; name a directory below it, or take that right away",
        );
    }
    Ok(())
}

/// A directory with something in it that no cache has made is not taken over: files would be deleted from it.
fn check_use(path: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(path)? {
        let name = file?.file_name();
        if name == LOCK {
            return Ok(());
        }
    }
    // A new file system has this one.
    let is_foreign =
        |file: &io::Result<DirEntry>| !matches!(file, Ok(file) if file.file_name() == "lost+found");
    if std::fs::read_dir(path)?.any(|file| is_foreign(&file)) {
        let why = "it holds other files and no disk cache; name a directory of its own";
        return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, why));
    }
    Ok(())
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
