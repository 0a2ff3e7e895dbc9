//! What a disk does to those who rely on it: full, failing, read-only, slow, gone.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32};

use rustix::io::Errno;

use super::*;

/// What reading and writing a directory's extents ends with, where it is not zero; how often was written, and whether
/// writing stands still.
#[derive(Debug, Default)]
pub struct Faults {
    read: AtomicI32,
    write: AtomicI32,
    pub writes: AtomicUsize,
    pub stands_still: AtomicBool,
}

impl Faults {
    pub fn read(&self) -> io::Result<()> {
        error(&self.read)
    }

    pub fn write(&self) -> io::Result<()> {
        // As it is when the write begins.
        let outcome = error(&self.write);
        self.writes.fetch_add(1, Ordering::SeqCst);
        while self.stands_still.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        outcome
    }
}

fn error(errno: &AtomicI32) -> io::Result<()> {
    match errno.load(Ordering::SeqCst) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

pub fn faults(cache: &DiskCache) -> Arc<Faults> {
    let writer = cache.shared.writer();
    writer.as_ref().expect("open").directory.faults.clone()
}

fn not_kept(disk: &Disk) -> usize {
    disk.counts.not_kept.load(Ordering::SeqCst)
}

/// Keeps records until one is kept again after a failure.
fn keep_until_kept(cache: &DiskCache, name: &str) {
    while read(cache, name, 60_000).is_none() {
        keep_now(cache, name, 60_000);
    }
}

#[test]
fn what_cannot_be_read_is_a_miss_and_the_rest_is_served() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep(&cache, "k", 60_000);
    keep_now(&cache, "l", 60_000);
    let faults = faults(&cache);
    faults
        .read
        .store(Errno::IO.raw_os_error(), Ordering::SeqCst);
    assert_eq!(read(&cache, "k", 60_000), None);
    faults.read.store(0, Ordering::SeqCst);
    assert_eq!(read(&cache, "k", 60_000), None, "it is forgotten");
    assert!(read(&cache, "l", 60_000).is_some());
    assert_eq!(disk.damaged(), 1);
    keep_until_kept(&cache, "k");
}

#[test]
fn what_cannot_be_written_is_not_kept_and_what_was_kept_is_read_on() {
    for errno in [Errno::IO, Errno::ROFS, Errno::NOSPC] {
        let disk = Disk::new(64 << 20);
        let cache = disk.open();
        keep_now(&cache, "before", 60_000);
        let faults = faults(&cache);
        faults.write.store(errno.raw_os_error(), Ordering::SeqCst);
        for n in 0..40 {
            keep_now(&cache, &format!("k{n}"), 60_000);
        }
        assert_eq!(not_kept(&disk), 40, "{errno}");
        assert!(read(&cache, "before", 60_000).is_some(), "{errno}");
        assert!(disk.size() <= disk.capacity);
        faults.write.store(0, Ordering::SeqCst);
        keep_until_kept(&cache, "after");
        drop(cache);
        let cache = disk.open();
        assert!(read(&cache, "before", 60_000).is_some(), "{errno}");
        assert!(read(&cache, "after", 60_000).is_some(), "{errno}");
        assert_eq!(disk.damaged(), 0);
    }
}

/// Keeps so many small records that come together, while the disk writes one that came before; then it goes on.
fn keep_together(cache: &DiskCache, records: usize, meanwhile: impl FnOnce(&Faults)) {
    let faults = faults(cache);
    faults.stands_still.store(true, Ordering::SeqCst);
    let before = faults.writes.load(Ordering::SeqCst);
    keep(cache, "first", 4000);
    while faults.writes.load(Ordering::SeqCst) == before {
        std::thread::yield_now();
    }
    for n in 0..records {
        keep(cache, &format!("k{n}"), 4000);
    }
    meanwhile(&faults);
    faults.stands_still.store(false, Ordering::SeqCst);
    settle(cache);
}

#[test]
fn small_records_that_come_together_are_written_in_one_go() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    // Two pages each: 800 KiB.
    keep_together(&cache, 100, |_| ());
    assert_eq!(faults(&cache).writes.load(Ordering::SeqCst), 2);
    let all = |cache: &DiskCache| {
        let whole = |n: &usize| {
            let name = format!("k{n}");
            read(cache, &name, 4000) == Some(bytes(&name, 4000))
        };
        (0..100).filter(whole).count()
    };
    assert_eq!((all(&cache), cache.len()), (100, 101));
    drop(cache);
    assert_eq!(all(&disk.open()), 100);
    assert_eq!(disk.damaged(), 0);
}

#[test]
fn small_records_that_cannot_be_written_together_are_lost_together_and_nothing_else() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    keep_together(&cache, 50, |faults| {
        // The first one's is under way.
        let errno = Errno::IO.raw_os_error();
        faults.write.store(errno, Ordering::SeqCst);
    });
    assert_eq!((cache.len(), not_kept(&disk)), (1, 50));
    faults(&cache).write.store(0, Ordering::SeqCst);
    keep_until_kept(&cache, "after");
    drop(cache);
    let cache = disk.open();
    assert!(read(&cache, "first", 4000).is_some() && read(&cache, "after", 60_000).is_some());
    assert_eq!((cache.len(), disk.damaged()), (2, 0));
}

#[test]
fn a_slow_disk_holds_nobody_up_and_takes_no_more_memory_than_its_queue() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    let faults = faults(&cache);
    faults.stands_still.store(true, Ordering::SeqCst);
    let length = CHUNK_SIZE.min(256 << 10) as usize;
    let fit = (QUEUE_BYTES as usize) / length;
    for n in 0..fit + 100 {
        keep(&cache, &format!("k{n}"), length);
    }
    assert!(cache.shared.queued.load(Ordering::SeqCst) <= QUEUE_BYTES);
    assert_eq!(not_kept(&disk), 100);
    faults.stands_still.store(false, Ordering::SeqCst);
    settle(&cache);
    assert!(read(&cache, &format!("k{}", fit - 1), length).is_some());
}

#[test]
fn a_disk_that_is_slow_to_close_holds_nobody_up() {
    let disk = Disk::new(64 << 20);
    let cache = disk.open();
    let faults = faults(&cache);
    faults.stands_still.store(true, Ordering::SeqCst);
    keep(&cache, "k", 60_000);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| cache.close());
        // Taken, and in no one's hands from then on, as long as the disk stands still.
        let is_free = || cache.queue.try_lock().is_ok_and(|queue| queue.is_none());
        while !is_free() && !closing.is_finished() {
            std::thread::yield_now();
        }
        assert!(!closing.is_finished(), "it waits for the disk");
        faults.stands_still.store(false, Ordering::SeqCst);
    });
}

#[test]
fn a_directory_that_is_gone_costs_what_is_kept_later_and_nothing_else() {
    let disk = Disk::new(8 << 20);
    let cache = disk.open();
    keep_now(&cache, "before", 60_000);
    std::fs::remove_dir_all(disk.path()).expect("removed");
    for n in 0..40 {
        keep_now(&cache, &format!("k{n}"), 60_000);
    }
    assert!(not_kept(&disk) > 0);
    assert!(
        read(&cache, "before", 60_000).is_some(),
        "its file is still open"
    );
    drop(cache);
    assert!(disk.open().is_empty());
}

#[test]
fn a_directory_that_cannot_be_made_is_tried_again() {
    let disk = Disk::new(8 << 20);
    std::fs::write(disk.path(), b"in the way").expect("written");
    let cache = disk.open();
    keep(&cache, "k", 60_000);
    std::fs::remove_file(disk.path()).expect("removed");
    keep_until_kept(&cache, "k");
    assert_eq!(cache.purge(), cache.bytes() + 512 * 1024);
}

/// Where a child finds its file system.
const MOUNTED: &str = "LOCKGATE_TEST_MOUNTED";

/// Runs a test of this module in a child that has a small file system of its own; `false` where that is not allowed.
fn in_a_tmpfs(size: &str, test: &str) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let script = format!(
        "mount -t tmpfs -o size={size} none \"${MOUNTED}\" || exit 77; exec \"$0\" --exact --ignored --nocapture \"$1\""
    );
    let me = std::env::current_exe().expect("this program");
    let name = format!(
        "{}::{test}",
        module_path!().split_once("::").expect("a crate").1
    );
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .arg(me)
        .arg(name)
        .env(MOUNTED, directory.path())
        .output();
    let allowed = output.as_ref().is_ok_and(|output| {
        let refused = String::from_utf8_lossy(&output.stderr).starts_with("unshare:");
        !refused && output.status.code() != Some(77)
    });
    if allowed {
        let output = output.expect("it ran");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    } else {
        println!("no file system may be mounted here: nothing was tried");
    }
    allowed
}

#[test]
fn a_disk_that_is_smaller_than_the_capacity_is_used_as_far_as_it_goes() {
    in_a_tmpfs("24m", "on_24_mib_fills_them");
}

#[test]
#[ignore = "run by a_disk_that_is_smaller_than_the_capacity_is_used_as_far_as_it_goes"]
fn on_24_mib_fills_them() {
    let mut disk = Disk::new(64 << 20);
    disk.directory = tempfile::tempdir_in(std::env::var(MOUNTED).expect("mounted")).expect("made");
    let cache = disk.open();
    for n in 0..400 {
        let name = format!("k{n}");
        keep_now(&cache, &name, 100_000);
        // The one that met the end is lost, and those that came while the disk was left alone.
        keep_until_kept_of(&cache, &name, 100_000);
    }
    let lost = not_kept(&disk);
    assert!(lost > 0, "40 MB went where 24 MiB are");
    assert!(cache.len() > 60, "{} of some 240", cache.len());
    let wrong = |n: &usize| {
        let name = format!("k{n}");
        read(&cache, &name, 100_000).is_some_and(|read| read != bytes(&name, 100_000))
    };
    assert_eq!((0..400).find(wrong), None);
    assert_eq!(disk.damaged(), 0);
}

fn keep_until_kept_of(cache: &DiskCache, name: &str, length: usize) {
    while read(cache, name, length).is_none() {
        keep_now(cache, name, length);
    }
}

#[test]
fn a_disk_that_became_read_only_is_read_on_and_read_again_after_a_restart() {
    in_a_tmpfs("24m", "on_a_read_only_disk_reads");
}

#[test]
#[ignore = "run by a_disk_that_became_read_only_is_read_on_and_read_again_after_a_restart"]
fn on_a_read_only_disk_reads() {
    let mounted = std::env::var(MOUNTED).expect("mounted");
    let mut disk = Disk::new(16 << 20);
    disk.directory = tempfile::tempdir_in(&mounted).expect("made");
    drop({
        let cache = disk.open();
        keep(&cache, "k", 60_000);
        cache
    });
    let remount = |how: &str| {
        let status = Command::new("mount").args(["-o", how, &mounted]).status();
        assert!(status.expect("it runs").success());
    };
    remount("remount,ro");
    let cache = disk.open();
    assert_eq!(read(&cache, "k", 60_000), Some(bytes("k", 60_000)));
    keep_now(&cache, "l", 60_000);
    assert_eq!((read(&cache, "l", 60_000), not_kept(&disk)), (None, 1));
    remount("remount,rw");
    keep_until_kept(&cache, "l");
}
