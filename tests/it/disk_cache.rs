//! The disk cache over restarts: what was read comes from disk, once storage has said that it still holds and the
//! annotator may see it; and whatever happens to the disk, media is served.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use http::Method;
use tempfile::TempDir;

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::process::Serving;
use crate::support::store::Store;
use crate::support::uri;
use crate::support::wild_store::WildStore;

const MIB: u64 = 1 << 20;
/// Some chunks, and a bit.
const LENGTH: u64 = 3 * MIB + 12_345;

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

/// A storage, and a directory that outlives gateways.
struct Site {
    store: Store,
    disk: TempDir,
}

impl Site {
    async fn new() -> Self {
        Self {
            store: Store::start().await,
            disk: tempfile::tempdir().expect("a directory"),
        }
    }

    fn setup(&self) -> Setup {
        with_disk(Setup::over(&self.store.section("media")), &self.disk)
    }

    fn put(&self, key: &str, version: u64) -> Pattern {
        let content = Pattern(version);
        self.store.generate("media", key, content, LENGTH);
        content
    }

    /// How often the object's bytes were asked for.
    fn gets(&self, key: &str) -> usize {
        self.store.count("GetObject", key)
    }

    /// A gateway that has read this object, and stopped.
    async fn has_read(&self, key: &str, content: Pattern) {
        let gateway = self.setup().start().await;
        assert_served(&gateway, key, content, LENGTH).await;
        gateway.stop().await;
        assert!(!self.extents().is_empty());
    }

    fn extents(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.disk.path().join("cache")).expect("a directory");
        let files = files.map(|file| file.expect("a file").path());
        files.filter(|file| file.extension().is_some()).collect()
    }
}

/// Asks storage each time, so that what is believed is what storage says.
fn with_disk(setup: Setup, disk: &TempDir) -> Setup {
    let path = disk.path().join("cache");
    setup
        .set("cache.metadata_max_age", "0s")
        .set("cache.disk.path", path.to_str().expect("UTF-8"))
        .set("cache.disk.capacity", "64MiB")
}

async fn read(gateway: &Gateway, key: &str, content: Pattern) -> (u16, u64, bool) {
    let reply = gateway.get(path(key)).send().await;
    let status = reply.status();
    if status != 200 {
        return (status, 0, false);
    }
    let (read, whole) = reply.compare(content, 0).await;
    (status, read, whole)
}

async fn assert_served(gateway: &Gateway, key: &str, content: Pattern, length: u64) {
    let served = read(gateway, key, content).await;
    assert_eq!(served, (200, length, true), "{key}");
}

/// The value of a metric's line.
async fn metric(gateway: &Gateway, line: &str) -> u64 {
    let text = gateway.metrics().await;
    let value = text.lines().find_map(|it| it.strip_prefix(line));
    let value = value.unwrap_or_else(|| panic!("{line} in {text}"));
    value.trim().parse().expect("a number")
}

#[tokio::test]
async fn after_a_restart_media_comes_from_disk_once_storage_has_said_that_it_still_holds() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    site.has_read("a.mp4", content).await;
    let (gets, heads) = (site.gets("a.mp4"), site.store.count("HeadObject", "a.mp4"));

    let gateway = site.setup().start().await;
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    for (range, offset, length) in [
        ("bytes=262140-262150", 262_140, 11),
        ("bytes=1000000-", 1_000_000, LENGTH - 1_000_000),
        ("bytes=-5", LENGTH - 5, 5),
    ] {
        let part = gateway.get(path("a.mp4")).range(range).send().await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(
            part.compare(content, offset).await,
            (length, true),
            "{range}"
        );
    }
    assert_eq!(site.gets("a.mp4"), gets, "no byte of it was asked for");
    assert_eq!(site.store.count("HeadObject", "a.mp4"), heads + 4);
    let hits = "lockgate_cache_requests_total{result=\"hit\",tier=\"disk\"}";
    assert_eq!(metric(&gateway, hits).await, LENGTH.div_ceil(262_144));
    assert_eq!(
        metric(&gateway, "lockgate_cache_disk_damaged_total").await,
        0
    );
    let log = gateway.access_log();
    assert_eq!(log[0]["cache"], "revalidated", "{log:?}");
}

#[tokio::test]
async fn a_restart_is_followed_by_a_304_that_costs_no_byte() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    site.has_read("a.mp4", content).await;
    let gets = site.gets("a.mp4");
    let gateway = site.setup().start().await;
    let tag = gateway
        .head(path("a.mp4"))
        .send()
        .await
        .header("etag")
        .to_owned();
    let unchanged = gateway.get(path("a.mp4")).header("if-none-match", &tag);
    assert_eq!(unchanged.answer().await.status, 304);
    assert_eq!(site.gets("a.mp4"), gets);
}

#[tokio::test]
async fn an_annotator_who_was_removed_meanwhile_gets_403_on_media_that_is_on_disk() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    site.has_read("a.mp4", content).await;
    let asked = site.store.asked("a.mp4");
    let nobody = "[[project]]\nid = '1'\nstorages = ['media']\nmembers = []\nmedia = 'storage'\n";
    let gateway = site.setup().projects(nobody).start().await;
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 403);
    assert_eq!(
        site.store.asked("a.mp4"),
        asked,
        "storage was not asked either"
    );
}

#[tokio::test]
async fn an_object_that_was_changed_meanwhile_is_the_new_one() {
    let site = Site::new().await;
    let old = site.put("a.mp4", 1);
    site.has_read("a.mp4", old).await;
    let new = site.put("a.mp4", 2);
    site.has_read("a.mp4", new).await;
    let gets = site.gets("a.mp4");
    let gateway = site.setup().start().await;
    assert_served(&gateway, "a.mp4", new, LENGTH).await;
    assert_eq!(site.gets("a.mp4"), gets, "the new one is on disk, too");
}

#[tokio::test]
async fn a_storage_with_another_key_or_another_id_finds_nothing_of_the_former() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    site.has_read("a.mp4", content).await;
    let section = site.store.section("media");
    let projects =
        "[[project]]\nid = '1'\nstorages = ['other']\nmembers = ['anna']\nmedia = 'storage'\n";
    let other_id = Setup::bare().storage("other", &section).projects(projects);
    let other_region = Setup::over(&section.replace("us-east-1", "us-east-2"));
    for setup in [other_id, other_region] {
        let gets = site.gets("a.mp4");
        let gateway = with_disk(setup, &site.disk).start().await;
        assert_served(&gateway, "a.mp4", content, LENGTH).await;
        assert!(site.gets("a.mp4") > gets, "storage was asked");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn damaged_records_are_fetched_again_and_counted() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    site.has_read("a.mp4", content).await;
    for extent in site.extents() {
        let length = std::fs::metadata(&extent).expect("there").len();
        let file = File::options().write(true).open(&extent).expect("opens");
        // A byte in each record, and in each page of zeroes.
        for offset in (70_000..length - 8192).step_by(200_000) {
            file.write_all_at(b"x", offset).expect("written");
        }
    }
    let gateway = site.setup().start().await;
    for _ in 0..2 {
        assert_served(&gateway, "a.mp4", content, LENGTH).await;
    }
    assert!(metric(&gateway, "lockgate_cache_disk_damaged_total").await > 5);
    gateway.stop().await;
    let gets = site.gets("a.mp4");
    let gateway = site.setup().start().await;
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    assert_eq!(site.gets("a.mp4"), gets, "they were kept anew");
}

#[tokio::test]
async fn a_directory_that_is_removed_under_it_or_cannot_be_made_keeps_no_media_back() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    let gateway = site.setup().start().await;
    std::fs::remove_dir_all(site.disk.path().join("cache")).expect("removed");
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    gateway.stop().await;
    let nowhere = site.setup().set("cache.disk.path", "/proc/lockgate");
    let gateway = nowhere.start().await;
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    assert_eq!(
        metric(&gateway, "lockgate_cache_bytes{tier=\"disk\"}").await,
        0
    );
}

#[tokio::test]
async fn a_purge_leaves_nothing_on_disk() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    site.has_read("a.mp4", content).await;
    let gateway = site.setup().start().await;
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    let purged = gateway
        .admin()
        .ask(Method::POST, "/cache/purge")
        .answer()
        .await;
    assert!(purged.json()["purged_bytes"].as_u64() > Some(2 * LENGTH));
    assert!(site.extents().is_empty());
    let gets = site.gets("a.mp4");
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    assert!(site.gets("a.mp4") > gets);
}

/// The same over a storage that can be down.
async fn down_after_a_restart(stale: &str) -> (WildStore, Gateway, TempDir, Pattern) {
    let store = WildStore::start().await;
    let disk = tempfile::tempdir().expect("a directory");
    let setup = || with_disk(Setup::over(&store.section()), &disk);
    let content = store.put("a.mp4", LENGTH);
    store.put("b.mp4", 1000);
    let gateway = setup().start().await;
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    gateway.stop().await;
    store.set_down(true);
    let gateway = setup().set("cache.stale_if_error", stale).start().await;
    (store, gateway, disk, content)
}

#[tokio::test]
async fn after_a_restart_while_storage_is_down_what_is_on_disk_is_served_with_its_access_check() {
    let (store, gateway, _disk, content) = down_after_a_restart("1h").await;
    assert_served(&gateway, "a.mp4", content, LENGTH).await;
    let part = gateway
        .get(path("a.mp4"))
        .range("bytes=2000000-")
        .send()
        .await;
    assert_eq!(
        part.compare(content, 2_000_000).await,
        (LENGTH - 2_000_000, true)
    );
    assert_eq!(gateway.head(path("a.mp4")).answer().await.status, 200);
    assert_eq!(gateway.get(path("b.mp4")).answer().await.status, 503);
    let by_eve = gateway.client().get(path("a.mp4")).by("eve");
    assert_eq!(by_eve.answer().await.status, 403);
    // What storage says holds, also against what is on disk.
    store.set_down(false);
    store.remove("a.mp4");
    crate::support::eventually("it is gone", async || {
        (read(&gateway, "a.mp4", content).await.0 == 404).then_some(())
    })
    .await;
    store.set_down(true);
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 503);
}

#[tokio::test]
async fn what_is_on_disk_is_believed_in_no_longer_than_was_set() {
    let (_store, gateway, _disk, content) = down_after_a_restart("0s").await;
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 503);
}

#[tokio::test]
async fn the_process_reaches_its_cache_from_within_the_sandbox_and_writes_what_waits_at_the_end() {
    let site = Site::new().await;
    let content = site.put("a.mp4", 1);
    let mut gets = Vec::new();
    for _ in 0..2 {
        let mut serving = Serving::start(site.setup()).await;
        let reply = serving.client.get(path("a.mp4")).by("anna").send().await;
        assert_eq!(reply.compare(content, 0).await, (LENGTH, true));
        serving.signal("TERM");
        assert_eq!(serving.ended().await.code(), Some(0));
        let log = serving.written("stderr");
        assert!(!log.contains("going on without it"), "{log}");
        let files = site.extents().into_iter();
        let lengths = files.map(|file| std::fs::metadata(file).expect("there").len());
        assert!(lengths.sum::<u64>() > LENGTH);
        gets.push(site.gets("a.mp4"));
    }
    assert_eq!(gets[0], gets[1], "the second process had it from disk");
}
