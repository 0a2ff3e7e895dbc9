//! Local files: what a file system can do that no object store can.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lockgate::backend::local::Local;
use lockgate::backend::{Backend, BackendError, Call, Condition, Conditional};
use lockgate::object::{ObjectLocation, ObjectMeta};

use crate::conformance::points::listed;
use crate::support::disk::Disk;
use crate::support::shop::Shop;
use crate::support::uri;

fn location(key: &str) -> ObjectLocation {
    ObjectLocation {
        storage: "media".into(),
        epoch: 1,
        bucket: "".into(),
        key: key.into(),
    }
}

async fn head(backend: &Local, key: &str) -> Result<ObjectMeta, BackendError> {
    match backend.head(Call::about(&location(key))).await? {
        Conditional::Is(meta) => Ok(meta),
        Conditional::NotModified => panic!("a 304 to no condition"),
    }
}

#[tokio::test]
async fn a_symlink_is_followed_within_the_root_and_never_beyond_it() {
    let disk = Disk::new();
    disk.put("dir/real.txt", b"inside".to_vec()).await;
    let link = |target: &str, name: &str| symlink(target, disk.at(name)).expect("a link");
    link("dir/real.txt", "file-link");
    link("dir", "dir-link");
    link("../secret.txt", "out");
    link("..", "up");
    link("dir/../../secret.txt", "out-and-in");
    link("loop", "loop");
    link("nowhere", "dangling");
    link("/proc/self/root", "proc");
    link("/proc/self/environ", "environ");
    let absolute = disk.at("dir/real.txt");
    symlink(&absolute, disk.at("absolute")).expect("a link");
    symlink(disk.root(), disk.at("absolute-root")).expect("a link");
    let gateway = disk.gateway().await;
    for (key, status) in [
        ("file-link", 200),
        ("dir-link/real.txt", 200),
        ("out", 404),
        ("up/secret.txt", 404),
        ("up/root/dir/real.txt", 404),
        ("out-and-in", 404),
        ("loop", 404),
        ("loop/x", 404),
        ("dangling", 404),
        ("proc", 404),
        ("proc/etc/passwd", 404),
        ("environ", 404),
        // Within the root by its target, and yet: an absolute link leaves a root that is looked at from within.
        ("absolute", 404),
        ("absolute-root/dir/real.txt", 404),
    ] {
        let answer = gateway
            .get(uri::project("1", &disk.uri(key)))
            .answer()
            .await;
        assert_eq!(answer.status, status, "{key}: {}", answer.text());
        assert!(status != 200 || answer.text() == "inside", "{key}");
    }
}

#[tokio::test]
async fn a_link_that_turns_outwards_while_it_is_read_shows_nothing() {
    let disk = Disk::new();
    disk.put("dir/secret.txt", b"inside".to_vec()).await;
    let (backend, key) = (disk.backend(), "turns/secret.txt");
    let mut seen = 0;
    for round in 0..200 {
        let target = if round % 2 == 0 { "dir" } else { ".." };
        let new = disk.at("new");
        symlink(target, &new).expect("a link");
        let rename = tokio::task::spawn_blocking({
            let to = disk.at("turns");
            move || fs::rename(new, to)
        });
        let (renamed, head) = tokio::join!(rename, head(&backend, key));
        renamed.expect("no panic").expect("it is renamed");
        if let Ok(meta) = head {
            assert_eq!(meta.complete_length, 6, "the secret's length is 8");
            seen += 1;
        }
    }
    assert!(seen > 0, "it is seen while it turns inwards");
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_there() {
    let disk = Disk::new();
    fs::create_dir(disk.at("directory")).expect("it is made");
    let fifo = disk.at("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(disk.at("socket")).expect("a socket");
    symlink("/dev/zero", disk.at("zero")).expect("a link");
    let backend = disk.backend();
    for key in ["directory", "fifo", "socket", "zero"] {
        let answer = tokio::time::timeout(Duration::from_secs(30), head(&backend, key)).await;
        let answer = answer.expect("nothing waits for a writer");
        assert!(
            matches!(answer, Err(BackendError::NotFound)),
            "{key}: {answer:?}"
        );
    }
    let long = head(&backend, &"a/".repeat(5000)).await;
    assert!(matches!(long, Err(BackendError::NotFound)), "{long:?}");
    for key in ["", ".", "..", "../secret.txt", "/etc/passwd", "a\0b"] {
        let answer = head(&backend, key).await;
        assert!(
            matches!(answer, Err(BackendError::NotFound)),
            "{key:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_file_written_in_place_is_another_version_by_its_nanoseconds() {
    let disk = Disk::new();
    disk.put("a.txt", b"one".to_vec()).await;
    let file = fs::File::options()
        .write(true)
        .open(disk.at("a.txt"))
        .expect("a file");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 1);
    file.set_modified(time).expect("a time");
    let backend = disk.backend();
    let old = head(&backend, "a.txt").await.expect("it is there");
    file.set_modified(time + Duration::from_nanos(1))
        .expect("a time");
    let new = head(&backend, "a.txt").await.expect("it is there");
    assert_ne!(old.etag, new.etag);
    let location = location("a.txt");
    let pinned = Call::about(&location).on(Condition::IfMatch(old.etag.clone()));
    let read = backend.get(pinned, 0..3).await;
    assert!(matches!(read, Err(BackendError::Changed)), "{read:?}");
    let known = Call::about(&location).on(Condition::IfNoneMatch(new.etag));
    let read = backend.get(known, 0..3).await;
    assert!(matches!(read, Ok(Conditional::NotModified)), "{read:?}");
}

#[tokio::test]
async fn a_file_that_is_written_or_cut_while_it_is_read_breaks_the_read_off() {
    use futures_util::StreamExt;
    for cut in [true, false] {
        let disk = Disk::new();
        disk.put("a.bin", vec![1; 4 << 20]).await;
        let (backend, location) = (disk.backend(), location("a.bin"));
        let Ok(Conditional::Is(mut fetched)) =
            backend.get(Call::about(&location), 0..u64::MAX).await
        else {
            panic!("it is there");
        };
        fetched
            .body
            .next()
            .await
            .expect("a piece")
            .expect("it holds");
        if cut {
            let file = fs::File::options().write(true).open(disk.at("a.bin"));
            file.expect("a file").set_len(2 << 20).expect("it is cut");
        } else {
            fs::write(disk.at("a.bin"), vec![2; 4 << 20]).expect("it is written");
        }
        let rest: Vec<_> = fetched.body.collect().await;
        let last = rest.last().expect("an end");
        assert!(matches!(last, Err(BackendError::Changed)), "cut: {cut}");
    }
}

#[tokio::test]
async fn a_listing_stays_below_the_root_and_skips_what_has_no_uri() {
    let disk = Disk::new();
    for key in ["a/1.png", "a/2.png", "ab/3.png", "4.png"] {
        disk.put(key, vec![0; 7]).await;
    }
    let not_text = std::ffi::OsStr::from_bytes(b"a/\xff.png");
    fs::write(disk.root().join(Path::new(not_text)), "x").expect("it is written");
    symlink("..", disk.at("up")).expect("a link");
    symlink("../secret.txt", disk.at("a/secret.txt")).expect("a link");
    let backend = disk.backend();
    for (prefix, expected) in [
        ("", &["4.png", "a/1.png", "a/2.png", "ab/3.png"][..]),
        ("a/", &["a/1.png", "a/2.png"]),
        ("a", &["a/1.png", "a/2.png", "ab/3.png"]),
        ("a/2", &["a/2.png"]),
        ("../", &[]),
        ("z/", &[]),
    ] {
        for limit in [1, 2, 100] {
            let keys = listed(&backend, "", prefix, limit).await;
            assert_eq!(keys, expected, "{prefix}, {limit} a page");
        }
    }
}
