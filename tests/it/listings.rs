//! Listings, page by page, on a real server.

use lockgate::backend::Backend;

use crate::support::garage::Garage;
use crate::support::gateway::Setup;

/// All keys below a prefix, so many a page.
pub async fn listed(backend: &dyn Backend, prefix: &str, limit: usize) -> Vec<String> {
    let (mut keys, mut after) = (vec![], None::<String>);
    loop {
        let page = backend.list("media", prefix, after.as_deref(), limit).await;
        let page = page.expect("a page");
        assert!(page.entries.len() <= limit);
        keys.extend(page.entries.into_iter().map(|listed| listed.key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

#[tokio::test]
async fn every_key_is_listed_once_whatever_the_page_and_whatever_is_in_its_name() {
    let Some(garage) = Garage::start().await else {
        return;
    };
    garage.create_bucket("media").await;
    let mut keys = [
        "a b.mp4",
        "a+b.mp4",
        "a%2Bb.mp4",
        "d/a//b.mp4",
        "d/ünïcödé 🎬.mp4",
        "d/<a>&'\"#?.mp4",
        "d/\u{1}control\n.mp4",
        "z",
    ];
    for key in keys {
        garage.put("media", key, "video/mp4", key).await;
    }
    keys.sort_unstable();
    let directory = tempfile::tempdir().expect("a directory");
    let file = Setup::over(&garage.section("media")).write(directory.path());
    let loaded = lockgate::config::load(&file, []).expect("it is whole");
    let config = &loaded.config;
    let parts = lockgate::app::backend(&config.storages[0], config.delivery.stall_timeout);
    let backend = parts.expect("a client").backend;
    for limit in [1, 3, 8, 1000] {
        assert_eq!(listed(&*backend, "", limit).await, keys, "{limit} a page");
        let below: Vec<_> = keys.iter().filter(|key| key.starts_with("d/")).collect();
        let found = listed(&*backend, "d/", limit).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), below, "{limit} a page");
    }
}
