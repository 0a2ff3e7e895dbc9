//! Files below a root, never beyond it, also not through a symlink (`openat2` with `RESOLVE_BENEATH`).
//!
//! The validator is inode, size and modification time with nanoseconds. Blocking calls run off the runtime.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::config::LocalConfig;
use super::{Backend, BackendError, ByteStream, Call, Conditional, Fetched, Listed};
use crate::object::{ETag, ObjectMeta};

/// How much one read takes: large enough that a switch of threads does not show.
const PIECE: u64 = 1 << 20;

/// Files below one directory.
pub struct Local {
    config: LocalConfig,
}

impl Local {
    /// Opens nothing yet, so that a root which is mounted later works.
    pub fn new(config: LocalConfig) -> Self {
        Self { config }
    }

    async fn open(&self, call: &Call<'_>) -> Result<Opened, BackendError> {
        let root = self.config.root.clone();
        let path = call.location.key.clone();
        off_runtime(move || open_below(&root, &path)).await
    }
}

/// A regular file below the root and what it was when it was opened.
struct Opened {
    file: Arc<File>,
    meta: ObjectMeta,
}

fn open_below(root: &std::path::Path, path: &str) -> Result<Opened, BackendError> {
    let directory = rustix::fs::open(
        root,
        OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| BackendError::Unavailable(format!("the root cannot be opened: {error}")))?;
    // NONBLOCK: opening a fifo must not wait for a writer. NO_MAGICLINKS: no way out through /proc.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&directory, path, flags, Mode::empty(), beneath) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOSYS) => {
            return Err(BackendError::Unavailable(
                "the kernel (before Linux 5.6) or a sandbox around us has no openat2, and without it nothing keeps a \
                 symlink below the root"
                    .into(),
            ));
        }
        Err(error) => return Err(cannot_open(error)),
    };
    let meta = meta(&file)
        .map_err(unreadable)?
        .ok_or(BackendError::NotFound)?;
    Ok(Opened {
        file: Arc::new(file),
        meta,
    })
}

/// What is beyond the root, a loop, a directory or a name too long is not there as far as anybody is told.
fn cannot_open(error: rustix::io::Errno) -> BackendError {
    use rustix::io::Errno;
    match error {
        Errno::ACCESS | Errno::PERM => {
            BackendError::AccessDenied("the file's mode forbids reading it".into())
        }
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::INVAL => BackendError::NotFound,
        other => BackendError::Unavailable(other.to_string()),
    }
}

/// The metadata of a regular file; `None` for anything else.
fn meta(file: &File) -> io::Result<Option<ObjectMeta>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let tag = format!(
        "{:x}-{:x}-{seconds:x}.{nanoseconds:x}",
        metadata.ino(),
        metadata.len()
    );
    let last_modified = u64::try_from(seconds)
        .ok()
        .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let etag = ETag::strong(&tag).ok_or_else(|| io::Error::other("no validator"))?;
    Ok(Some(ObjectMeta {
        etag,
        complete_length: metadata.len(),
        last_modified,
        content_type: None,
        content_encoding: None,
    }))
}

#[async_trait]
impl Backend for Local {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let Opened { meta, .. } = self.open(&call).await?;
        Ok(if call.condition.lets_through(&meta.etag)? {
            Conditional::Is(meta)
        } else {
            Conditional::NotModified
        })
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let Opened { file, meta } = self.open(&call).await?;
        if !call.condition.lets_through(&meta.etag)? {
            return Ok(Conditional::NotModified);
        }
        if range.start >= meta.complete_length {
            return Err(BackendError::RangeNotSatisfiable);
        }
        let range = range.start..range.end.min(meta.complete_length);
        let body = read(file, meta.etag.clone(), range.clone());
        Ok(Conditional::Is(Fetched { meta, range, body }))
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<Listed>, BackendError> {
        let (root, prefix) = (self.config.root.clone(), prefix.to_owned());
        off_runtime(move || list_below(&root, &prefix, limit)).await
    }
}

/// The range, piece by piece. After each piece the file must still be the version it was: a file that is written in
/// place gives an error, not a mixture.
fn read(file: Arc<File>, etag: ETag, range: Range<u64>) -> ByteStream {
    Box::pin(stream::try_unfold(range, move |left| {
        let (file, etag) = (file.clone(), etag.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + PIECE);
            let piece = off_runtime(move || read_piece(&file, &etag, left.start..end)).await?;
            Ok(Some((piece, end..left.end)))
        }
    }))
}

fn read_piece(file: &File, etag: &ETag, range: Range<u64>) -> Result<Bytes, BackendError> {
    let mut piece = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut piece, range.start)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackendError::Changed,
            _ => unreadable(error),
        })?;
    match meta(file).map_err(unreadable)? {
        Some(now) if now.etag == *etag => Ok(piece.into()),
        _ => Err(BackendError::Changed),
    }
}

/// Walks down where keys with the prefix may be, and never through a symlink, so that it ends and stays below the root.
/// What a link names is served and not listed; a name that is not UTF-8 has no URI and is left out.
fn list_below(
    root: &std::path::Path,
    prefix: &str,
    limit: usize,
) -> Result<Vec<Listed>, BackendError> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            // It may be closed to us, or be gone since its parent was read: what else there is can be listed.
            Err(_) if directory != root => continue,
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let key = path.strip_prefix(root).ok().and_then(|path| path.to_str());
            let (Some(key), Ok(metadata)) = (key, entry.metadata()) else {
                continue;
            };
            if metadata.is_dir() {
                let inside = format!("{key}/");
                if inside.starts_with(prefix) || prefix.starts_with(&inside) {
                    directories.push(path);
                }
            } else if metadata.is_file() && key.starts_with(prefix) {
                found.push(Listed {
                    key: key.to_owned(),
                    complete_length: metadata.len(),
                });
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

fn unreadable(error: io::Error) -> BackendError {
    BackendError::Unavailable(format!("cannot read: {}", error.kind()))
}

/// Runs what blocks where it may block.
async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(BackendError::Unavailable("the reading thread ended".into())))
}
