use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicUsize;

use super::record::tests::chunk as described;
use super::*;
use crate::cache::CHUNK_SIZE;

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

    fn open(&self) -> DiskCache {
        let config = DiskConfig {
            path: self.directory.path().join("cache"),
            capacity: self.capacity,
        };
        DiskCache::open(&config, self.counts.clone()).expect("opens")
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.directory.path().join("cache")).expect("a directory");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.retain(|file| file.extension().is_some());
        files.sort();
        files
    }

    fn size(&self) -> u64 {
        let length = |file: &PathBuf| std::fs::metadata(file).map_or(0, |file| file.len());
        self.files().iter().map(length).sum()
    }
}

/// Bytes that tell whose they are.
fn bytes(name: &str, length: usize) -> Vec<u8> {
    name.bytes().cycle().take(length).collect()
}

fn keep(cache: &DiskCache, name: &str, length: usize) {
    let (key, meta) = described(name, 0, length as u64);
    let chunk = Chunk::new(Bytes::from(bytes(name, length)));
    cache.keep(&key, &chunk, &Arc::new(meta));
}

fn read(cache: &DiskCache, name: &str, length: usize) -> Option<Vec<u8>> {
    let (key, _) = described(name, 0, length as u64);
    let mut reading = cache.read(&key)?;
    let mut read = Vec::new();
    while let Some(segment) = reading.segment() {
        read.extend_from_slice(&segment);
    }
    Some(read)
}

#[test]
fn what_was_kept_is_read_after_a_restart_with_its_metadata() {
    let disk = Disk::new(512 << 20);
    let sizes = [
        1,
        4095,
        4096,
        100_000,
        CHUNK_SIZE as usize - 1,
        CHUNK_SIZE as usize,
    ];
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
        assert_eq!(cache.recall(&key.version.location, 0), Some(meta));
    }
    assert_eq!(read(&cache, "nobody", 5), None);
    assert_eq!(disk.counts.damaged.load(Ordering::SeqCst), 0);
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep(&cache, "k", 10);
    keep(&cache, "k", 20);
    cache.close();
    assert_eq!(read(&cache, "k", 10), None);
    assert_eq!(read(&cache, "k", 20), Some(bytes("k", 20)));
    assert_eq!(cache.len(), 1);
}

#[test]
fn what_was_not_sealed_is_found_up_to_the_record_that_was_torn() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    for n in 0..10 {
        keep(&cache, &format!("k{n}"), 50_000);
    }
    drop(cache);
    // As kill -9 leaves it in the middle of the eighth record.
    let [file] = &disk.files()[..] else {
        panic!("one extent")
    };
    let record = record::pages(50_000) * PAGE;
    let file = File::options().write(true).open(file).expect("opens");
    file.set_len((7 * record + 5 * PAGE) as u64).expect("cut");
    let cache = disk.open();
    assert_eq!(cache.len(), 7);
    assert!((0..7).all(|n| read(&cache, &format!("k{n}"), 50_000).is_some()));
    keep(&cache, "k9", 50_000);
    cache.close();
    assert!(read(&cache, "k9", 50_000).is_some());
    assert_eq!(disk.counts.damaged.load(Ordering::SeqCst), 0);
}

#[test]
fn damaged_records_are_misses_and_are_counted() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    let length = 200_000;
    keep(&cache, "k", length);
    keep(&cache, "l", 50_000);
    cache.close();
    let [file] = &disk.files()[..] else {
        panic!("one extent")
    };
    let file = File::options().write(true).open(file).expect("opens");
    file.write_all_at(b"x", (PAGE + 150_000) as u64)
        .expect("written");
    assert_eq!(read(&cache, "k", length), None);
    assert_eq!(read(&cache, "k", length), None, "it is forgotten");
    assert_eq!(disk.counts.damaged.load(Ordering::SeqCst), 1);
    let second = record::pages(length as u32) * PAGE;
    file.write_all_at(b"x", second as u64 + 100)
        .expect("written");
    assert_eq!(read(&cache, "l", 50_000), None);
    assert_eq!(disk.counts.damaged.load(Ordering::SeqCst), 2);
}

#[test]
fn it_never_takes_more_than_its_capacity_and_keeps_what_is_used() {
    let disk = Disk::new(8 << 20);
    let cache = disk.open();
    keep(&cache, "hot", 60_000);
    for n in 0..600 {
        keep(&cache, &format!("once{n}"), 60_000);
        while cache.queued.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        assert!(read(&cache, "hot", 60_000).is_some(), "after {n}");
        assert!(disk.size() <= disk.capacity, "{} after {n}", disk.size());
    }
    cache.close();
    assert!(read(&cache, "once0", 60_000).is_none());
    assert!(read(&cache, "once599", 60_000).is_some());
    assert!(disk.counts.evicted.load(Ordering::SeqCst) > 400);
    assert!(cache.len() > 80, "{} of some 130 that fit", cache.len());
    drop(cache);
    assert!(disk.open().len() > 80);
}

#[test]
fn a_directory_that_is_gone_costs_what_is_kept_and_nothing_else() {
    let disk = Disk::new(8 << 20);
    let cache = disk.open();
    keep(&cache, "before", 60_000);
    while cache.is_empty() {
        std::thread::yield_now();
    }
    std::fs::remove_dir_all(disk.directory.path().join("cache")).expect("removed");
    for n in 0..40 {
        keep(&cache, &format!("k{n}"), 60_000);
    }
    cache.close();
    assert!(disk.counts.not_kept.load(Ordering::SeqCst) > 0);
    assert!(
        read(&cache, "before", 60_000).is_some(),
        "its file is still open"
    );
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let disk = Disk::new(8 << 20);
    let _first = disk.open();
    let config = DiskConfig {
        path: disk.directory.path().join("cache"),
        capacity: 8 << 20,
    };
    assert!(DiskCache::open(&config, disk.counts.clone()).is_err());
}

#[test]
fn an_extent_under_another_name_is_not_believed() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep(&cache, "k", 50_000);
    drop(cache);
    let [file] = &disk.files()[..] else {
        panic!("one extent")
    };
    std::fs::rename(file, file.with_file_name("00000000000000ff.extent")).expect("renamed");
    assert!(disk.open().is_empty());
}
