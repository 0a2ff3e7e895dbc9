//! The disk tier with a real directory; what it takes for its own in `directories`, what a disk may do
//! to it in `faults`, what it keeps in `rings`.

mod directories;
mod faults;
mod kills;
mod rings;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicUsize;

use super::record::tests::{chunk as described, kept_at};
use super::*;
use crate::cache::CHUNK_SIZE;
pub(super) use faults::Faults;

#[derive(Default)]
struct Counts {
    evicted: AtomicUsize,
    damaged: AtomicUsize,
    not_kept: AtomicUsize,
}

impl Watcher for Counts {
    fn evicted(&self) {
        self.evicted.fetch_add(1, Ordering::SeqCst);
    }
    fn damaged(&self) {
        self.damaged.fetch_add(1, Ordering::SeqCst);
    }
    fn not_kept(&self) {
        self.not_kept.fetch_add(1, Ordering::SeqCst);
    }
}

struct Disk {
    directory: tempfile::TempDir,
    capacity: u64,
    counts: Arc<Counts>,
}

impl Disk {
    fn new(capacity: u64) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            capacity,
            counts: Arc::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn config(&self) -> DiskConfig {
        DiskConfig {
            path: self.path(),
            capacity: self.capacity,
        }
    }

    fn open(&self) -> DiskCache {
        DiskCache::start(self.config(), self.counts.clone()).expect("a thread")
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path()).expect("a directory");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.retain(|file| file.extension().is_some());
        files.sort();
        files
    }

    /// What the files take, as the file system counts it.
    fn size(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let length = |file: &PathBuf| {
            std::fs::metadata(file).map_or(0, |file| file.len().max(file.blocks() * 512))
        };
        self.files().iter().map(length).sum()
    }

    fn the_file(&self) -> File {
        let [file] = &self.files()[..] else {
            panic!("one extent")
        };
        let mut options = File::options();
        options.read(true).write(true).open(file).expect("opens")
    }

    fn damaged(&self) -> usize {
        self.counts.damaged.load(Ordering::SeqCst)
    }
}

/// Bytes that tell whose they are.
fn bytes(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = name.repeat(length / name.len() + 1).into_bytes();
    bytes.truncate(length);
    bytes
}

fn keep(cache: &DiskCache, name: &str, length: usize) {
    let (key, meta) = described(name, 0, length as u64);
    cache.keep(&key, bytes(name, length).into(), &Arc::new(meta), kept_at());
}

/// Keeps it, and waits until that is done.
fn keep_now(cache: &DiskCache, name: &str, length: usize) {
    keep(cache, name, length);
    settle(cache);
}

fn settle(cache: &DiskCache) {
    while cache.waiting() > 0 {
        std::thread::yield_now();
    }
    drop(cache.shared.writer());
}

fn read(cache: &DiskCache, name: &str, length: usize) -> Option<Vec<u8>> {
    let (key, _) = described(name, 0, length as u64);
    cache.read(&key, <[u8]>::to_vec)
}

fn recall(cache: &DiskCache, key: &ChunkKey) -> Option<Recalled> {
    cache.recall(&cache.place(&key.version.location, key.index)?)
}

#[test]
fn what_was_kept_is_read_after_a_restart_with_its_metadata() {
    let disk = Disk::new(512 << 20);
    let sizes = [1, 4095, 4096, 100_000, CHUNK_SIZE as usize];
    let cache = disk.open();
    for size in sizes {
        keep(&cache, &format!("k{size}"), size);
    }
    drop(cache);
    let cache = disk.open();
    assert_eq!(cache.len(), sizes.len());
    for size in sizes {
        let name = format!("k{size}");
        assert!(
            read(&cache, &name, size) == Some(bytes(&name, size)),
            "{size}"
        );
        let (key, meta) = described(&name, 0, size as u64);
        assert!(cache.has(&key));
        let kept_at = kept_at();
        let recalled = recall(&cache, &key);
        assert_eq!(recalled, Some(Recalled { meta, kept_at }));
    }
    assert_eq!(read(&cache, "nobody", 5), None);
    assert_eq!(disk.damaged(), 0);
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep(&cache, "k", 10);
    keep_now(&cache, "k", 20);
    assert_eq!(read(&cache, "k", 10), None);
    assert_eq!(read(&cache, "k", 20), Some(bytes("k", 20)));
    assert!(!cache.has(&described("k", 0, 10).0) && cache.has(&described("k", 0, 20).0));
    assert_eq!((cache.len(), disk.damaged()), (1, 0));
}

#[test]
fn a_version_whose_tag_is_anothers_is_kept_once_it_was_looked_for() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    let (first, _) = described("k", 0, 1);
    let tag = record::tag(&first.version.etag);
    let same = |length: &u64| record::tag(&described("k", 0, *length).0.version.etag) == tag;
    let length = (2..4_000_000).find(same).expect("a tag is two bytes long");
    keep_now(&cache, "k", 1);
    let (second, meta) = described("k", 0, length);
    let chunk = bytes("k", length.min(CHUNK_SIZE) as usize);
    assert!(cache.has(&second), "as far as its tag tells");
    assert_eq!(cache.read(&second, <[u8]>::to_vec), None);
    assert!(!cache.has(&second), "it is no longer taken to be there");
    cache.keep(&second, chunk.clone().into(), &Arc::new(meta), kept_at());
    settle(&cache);
    assert!(cache.read(&second, <[u8]>::to_vec) == Some(chunk));
    assert_eq!(disk.damaged(), 0);
}

#[test]
fn what_was_not_sealed_is_found_up_to_the_record_that_was_torn_and_written_on() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    for n in 0..10 {
        keep(&cache, &format!("k{n}"), 50_000);
    }
    drop(cache);
    // As kill -9 leaves it in the middle of the eighth record.
    let record = record::pages(50_000) * PAGE;
    let cut = (7 * record + 5 * PAGE) as u64;
    disk.the_file().set_len(cut).expect("cut");
    let cache = disk.open();
    assert_eq!(cache.len(), 7);
    keep_now(&cache, "k9", 50_000);
    drop(cache);
    assert_eq!(disk.files().len(), 1, "one that is not full is written on");
    let cache = disk.open();
    assert_eq!(cache.len(), 8);
    let whole = |n| read(&cache, &format!("k{n}"), 50_000) == Some(bytes(&format!("k{n}"), 50_000));
    assert!((0..7).chain([9]).all(whole));
    assert_eq!(disk.damaged(), 0);
}

#[test]
fn a_record_with_any_byte_changed_is_a_miss_and_is_counted() {
    let length = 10_000;
    // Magic, directory, generation, length, description's length, sums, description, padding, the bytes' first and last.
    let last = PAGE + length - 1;
    for place in [0, 9, 17, 20, 24, 33, 41, 60, PAGE - 1, PAGE, last] {
        let disk = Disk::new(64 << 20);
        let cache = disk.open();
        keep(&cache, "k", length);
        keep_now(&cache, "l", length);
        let mut byte = [0];
        let file = disk.the_file();
        file.read_exact_at(&mut byte, place as u64).expect("read");
        file.write_all_at(&[byte[0] ^ 0x20], place as u64)
            .expect("written");
        let (key, _) = described("k", 0, length as u64);
        let in_head = place < PAGE;
        let recalled = recall(&cache, &key);
        assert_eq!(recalled.is_none(), in_head, "{place}");
        assert_eq!(read(&cache, "k", length), None, "{place}");
        assert!(!cache.has(&key), "it is forgotten");
        assert_eq!(disk.damaged(), 1, "{place}");
        assert!(read(&cache, "l", length).is_some());
    }
}

#[test]
fn records_that_were_swapped_are_misses_and_are_counted() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep(&cache, "k", 10_000);
    keep_now(&cache, "l", 10_000);
    let file = disk.the_file();
    let mut both = vec![0; 2 * record::pages(10_000) * PAGE];
    file.read_exact_at(&mut both, 0).expect("read");
    let half = both.len() / 2;
    both.rotate_left(half);
    file.write_all_at(&both, 0).expect("written");
    assert_eq!(read(&cache, "k", 10_000), None);
    let (key, _) = described("l", 0, 10_000);
    assert_eq!(recall(&cache, &key), None);
    assert_eq!(disk.damaged(), 2);
}

#[test]
fn what_another_cache_wrote_is_not_believed() {
    let (disk, other) = (Disk::new(64 << 20), Disk::new(64 << 20));
    for (disk, name) in [(&disk, "own"), (&other, "foreign")] {
        let cache = disk.open();
        keep(&cache, name, 50_000);
        drop(cache);
    }
    // In the place of one that is open, and of one that is found at start.
    let cache = disk.open();
    std::fs::copy(&other.files()[0], &disk.files()[0]).expect("copied");
    assert_eq!(read(&cache, "own", 50_000), None);
    assert_eq!(disk.damaged(), 1);
    drop(cache);
    std::fs::copy(&other.files()[0], disk.path().join("000000ff.old")).expect("copied");
    let cache = disk.open();
    assert_eq!(read(&cache, "own", 50_000), None);
    assert_eq!(read(&cache, "foreign", 50_000), None);
    assert!(cache.is_empty());
}

#[test]
fn an_extent_under_another_number_or_of_another_format_is_not_believed() {
    let disk = Disk::new(64 << 20);
    drop({
        let cache = disk.open();
        keep(&cache, "k", 50_000);
        cache
    });
    std::fs::rename(&disk.files()[0], disk.path().join("000000ff.young")).expect("renamed");
    std::fs::write(disk.path().join("00000001.young"), b"LOCKGAT1".repeat(4096)).expect("written");
    std::fs::write(disk.path().join("notes.txt"), b"not the cache's").expect("written");
    assert!(disk.open().is_empty());
    assert_eq!(
        disk.files(),
        [disk.path().join("notes.txt")],
        "what is not the cache's stays"
    );
}

#[test]
fn two_processes_do_not_share_a_directory_and_the_second_has_it_when_the_first_ends() {
    let disk = Disk::new(64 << 20);
    let first = disk.open();
    keep_now(&first, "k", 5);
    let second = disk.open();
    assert!(second.is_empty());
    keep(&second, "l", 5);
    drop(first);
    while second.is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(read(&second, "k", 5), Some(bytes("k", 5)));
}

#[test]
fn a_purge_leaves_nothing_and_nothing_that_waited_comes_after_it() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep_now(&cache, "before", 50_000);
    for n in 0..20 {
        keep(&cache, &format!("waiting{n}"), 50_000);
    }
    assert!(cache.purge() > 50_000);
    settle(&cache);
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
    assert!(disk.files().is_empty());
    keep_now(&cache, "after", 50_000);
    drop(cache);
    let cache = disk.open();
    assert_eq!(cache.len(), 1);
    assert!(read(&cache, "after", 50_000).is_some());
}

#[test]
fn a_purge_before_the_directory_can_be_opened_holds_once_it_is() {
    let disk = Disk::new(64 << 20);
    let first = disk.open();
    keep_now(&first, "k", 50_000);
    let second = disk.open();
    assert_eq!(second.purge(), 0, "the first one has it");
    drop(first);
    while second.shared.writer().is_none() {
        std::thread::yield_now();
    }
    assert_eq!((second.len(), second.bytes()), (0, 0));
    assert!(disk.files().is_empty());
    keep_now(&second, "after", 5);
    assert!(read(&second, "after", 5).is_some());
}

#[test]
fn its_files_are_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep_now(&cache, "k", 5);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&disk.path()), 0o700);
    for file in std::fs::read_dir(disk.path()).expect("a directory") {
        assert_eq!(mode(&file.expect("a file").path()), 0o600);
    }
}
