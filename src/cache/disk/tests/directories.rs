//! Which directory it takes, and which files in it.

use super::*;

#[test]
fn a_directory_that_holds_other_files_and_no_cache_is_left_as_it_is() {
    let disk = Disk::new(64 << 20);
    std::fs::create_dir(disk.path()).expect("made");
    let backup = disk.path().join("20240101.old");
    std::fs::write(&backup, b"somebody's backup").expect("written");
    let cache = disk.open();
    assert!(cache.shared.writer().is_none(), "it is not taken");
    drop(cache);
    assert_eq!(disk.files(), [backup]);
    assert!(!disk.path().join("lockgate-cache").exists());
}

#[test]
fn a_file_whose_name_only_reads_like_an_extents_stays_and_so_does_the_extent() {
    let disk = Disk::new(64 << 20);
    drop({
        let cache = disk.open();
        keep(&cache, "k", 50_000);
        cache
    });
    let others = ["1.old", "+0000001.young", "0000000A.young"].map(|name| disk.path().join(name));
    for other in &others {
        std::fs::write(other, b"not the cache's").expect("written");
    }
    let cache = disk.open();
    assert!(read(&cache, "k", 50_000).is_some());
    assert!(others.iter().all(|other| other.exists()));
    assert_eq!(disk.files().len(), others.len() + 1);
}

#[test]
fn a_directory_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let disk = Disk::new(64 << 20);
    std::fs::create_dir(disk.path()).expect("made");
    let allow = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(disk.path(), mode).expect("set");
    };
    allow(0o777);
    let cache = disk.open();
    assert!(cache.shared.writer().is_none());
    allow(0o755);
    while cache.shared.writer().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn neither_a_link_in_the_locks_place_nor_a_file_made_beforehand_is_written_to() {
    let disk = Disk::new(64 << 20);
    std::fs::create_dir(disk.path()).expect("made");
    let (lock, other) = (
        disk.path().join("lockgate-cache"),
        disk.directory.path().join("other"),
    );
    std::fs::write(&other, b"another's").expect("written");
    std::os::unix::fs::symlink(&other, &lock).expect("linked");
    let cache = disk.open();
    assert!(cache.shared.writer().is_none());
    assert_eq!(std::fs::read(&other).expect("there"), b"another's");
    drop(cache);
    std::fs::remove_file(&lock).expect("removed");
    let cache = disk.open();
    let taken = disk.path().join("00000001.young");
    std::fs::write(&taken, b"another's").expect("written");
    keep_now(&cache, "k", 5);
    assert!(read(&cache, "k", 5).is_some());
    assert_eq!(std::fs::read(&taken).expect("there"), b"another's");
}
