//! Files below a root, never beyond it, also not through a symlink (`openat2` with `RESOLVE_BENEATH`).
//!
//! The validator is inode, size and modification time with nanoseconds. Blocking calls run off the runtime.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use rustix::fs::{Access, AtFlags, Mode, OFlags, ResolveFlags, accessat};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::config::LocalConfig;
use super::{Backend, BackendError, ByteStream, Call, Conditional, Fetched, Listed, Page};
use crate::object::{ETag, ObjectMeta};

/// How much one read takes: large enough that a switch of threads does not show.
const PIECE: u64 = 1 << 20;

/// How many threads one root may keep waiting: a mount that hangs must not take the runtime's 512, on which names are
/// looked up and configurations read, too.
const MAX_THREADS: usize = 64;

/// Files below one directory.
pub struct Local {
    config: LocalConfig,
    threads: Threads,
}

/// Where blocking calls run, and how long anybody waits for one.
#[derive(Clone)]
struct Threads {
    free: Arc<Semaphore>,
    patience: Duration,
}

impl Local {
    /// Opens nothing yet, so that a root which is mounted later works.
    /// A call that takes longer than `stall_timeout` has timed out, whatever its thread still waits for.
    pub fn new(config: LocalConfig, stall_timeout: Duration) -> Self {
        let free = Arc::new(Semaphore::new(MAX_THREADS));
        Self {
            config,
            threads: Threads {
                free,
                patience: stall_timeout,
            },
        }
    }

    async fn open(&self, call: &Call<'_>) -> Result<Opened, BackendError> {
        let root = self.config.root.clone();
        let path = call.location.key.clone();
        self.threads.run(move || open_below(&root, &path)).await
    }
}

/// A regular file below the root and what it was when it was opened.
struct Opened {
    file: Arc<File>,
    meta: ObjectMeta,
}

fn open_below(root: &Path, path: &str) -> Result<Opened, BackendError> {
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
        Err(Errno::NOSYS) => {
            return Err(BackendError::Unavailable(
                "the kernel (before Linux 5.6) or a sandbox around us has no openat2, and without it nothing keeps a \
                 symlink below the root"
                    .into(),
            ));
        }
        // access(2) asks the mode alone, a sandbox is asked when something is opened.
        Err(Errno::ACCESS)
            if accessat(&directory, path, Access::READ_OK, AtFlags::EACCESS).is_ok() =>
        {
            return Err(BackendError::AccessDenied(
                "the file's mode allows reading it, and a sandbox keeps it out of reach: what was mounted or linked \
                 after the start needs a restart"
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
fn cannot_open(error: Errno) -> BackendError {
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
        let body = read(self.threads.clone(), file, meta.etag.clone(), range.clone());
        Ok(Conditional::Is(Fetched { meta, range, body }))
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let (root, prefix) = (self.config.root.clone(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let list = move || list_below(&root, &prefix, after.as_deref(), limit);
        self.threads.run(list).await
    }
}

/// The range, piece by piece. After each piece the file must still be the version it was: a file that is written in
/// place gives an error, not a mixture.
fn read(threads: Threads, file: Arc<File>, etag: ETag, range: Range<u64>) -> ByteStream {
    Box::pin(stream::try_unfold(range, move |left| {
        let (threads, file, etag) = (threads.clone(), file.clone(), etag.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + PIECE);
            let piece = threads
                .run(move || read_piece(&file, &etag, left.start..end))
                .await?;
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

/// In the keys' order, so that a page can begin after any key. A directory's name ends with its slash: so it sorts as
/// the keys below it do.
fn list_below(
    root: &Path,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, BackendError> {
    let mut page = Page::default();
    let mut left = vec![String::new()];
    while let Some(path) = left.pop() {
        let begun = after.is_none_or(|after| *path > *after);
        if path.is_empty() || path.ends_with('/') {
            let in_prefix = path.starts_with(prefix) || prefix.starts_with(&path);
            if in_prefix && (begun || after.is_some_and(|after| after.starts_with(&path))) {
                left.extend(names_below(root, &path)?);
            }
            continue;
        }
        let metadata = root.join(&path).symlink_metadata();
        let Some(metadata) = there(metadata)?.filter(std::fs::Metadata::is_file) else {
            continue;
        };
        if !begun || !path.starts_with(prefix) {
            continue;
        }
        if page.entries.len() == limit.max(1) {
            page.next = page.entries.last().map(|last| last.key.clone());
            break;
        }
        page.entries.push(Listed {
            key: path,
            complete_length: metadata.len(),
        });
    }
    Ok(page)
}

/// The paths in a directory, the last first. A name that is not UTF-8 is the key of nothing.
fn names_below(root: &Path, directory: &str) -> Result<Vec<String>, BackendError> {
    let Some(entries) = there(std::fs::read_dir(root.join(directory)))? else {
        return Ok(vec![]);
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let slash = match entry.file_type().map_err(unreadable)?.is_dir() {
            true => "/",
            false => "",
        };
        if let Some(name) = entry.file_name().to_str() {
            names.push(format!("{directory}{name}{slash}"));
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// What was removed while the listing went on is not listed.
fn there<T>(result: io::Result<T>) -> Result<Option<T>, BackendError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: io::Error) -> BackendError {
    BackendError::Unavailable(format!("cannot read: {}", error.kind()))
}

impl Threads {
    /// Runs what blocks where it may block. The permit goes with the thread, not with who waits for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let done = async {
            let permit = self.free.clone().acquire_owned().await;
            let work = move || {
                let _permit = permit;
                work()
            };
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
                Err(BackendError::Unavailable("the reading thread ended".into()))
            })
        };
        let hangs = BackendError::TimedOut("the file system does not answer");
        tokio::time::timeout(self.patience, done)
            .await
            .unwrap_or(Err(hangs))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_system_that_hangs_times_out_and_keeps_its_thread_from_others() {
        let threads = Threads {
            free: Arc::new(Semaphore::new(1)),
            patience: Duration::from_millis(20),
        };
        let (mended, hangs) = std::sync::mpsc::channel::<()>();
        let hung = threads.run(move || Ok(hangs.recv().is_ok())).await;
        assert!(matches!(hung, Err(BackendError::TimedOut(_))), "{hung:?}");
        let next = threads.run(|| Ok(true)).await;
        assert!(
            matches!(next, Err(BackendError::TimedOut(_))),
            "its thread is not free: {next:?}"
        );
        drop(mended);
        let patient = Threads {
            patience: Duration::from_secs(30),
            ..threads
        };
        assert!(patient.run(|| Ok(true)).await.unwrap());
    }

    #[test]
    fn pages_list_every_file_once_in_the_order_of_the_keys() {
        let root = tempfile::tempdir().unwrap();
        let mut keys = [
            "a.mp4", "a/b", "a/b.c/d", "a/b/c", "a0", "b", "sub/x/y", "z z/+",
        ];
        keys[1] = "a/a";
        for key in keys {
            let path = root.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, key).unwrap();
        }
        std::os::unix::fs::symlink("b", root.path().join("link")).unwrap();
        keys.sort_unstable();
        for limit in 1..10 {
            let (mut listed, mut after) = (vec![], None);
            loop {
                let page = list_below(root.path(), "", after.as_deref(), limit).unwrap();
                assert!(page.entries.len() <= limit);
                listed.extend(page.entries.into_iter().map(|found| found.key));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed, keys, "{limit} a page");
        }
        let below = list_below(root.path(), "a/", None, 10).unwrap();
        let below: Vec<_> = below.entries.iter().map(|found| &*found.key).collect();
        assert_eq!(below, ["a/a", "a/b.c/d", "a/b/c"]);
    }
}
