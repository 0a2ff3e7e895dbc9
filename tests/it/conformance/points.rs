//! What every store must do, asked of a gateway in front of it or of its backend alone: each point is a function, each
//! store a [`Shop`].

use std::ops::Range;
use std::sync::Arc;

use futures_util::TryStreamExt;
use lockgate::backend::retry::Retry;
use lockgate::backend::{Backend, BackendError, Call, Condition, Conditional};
use lockgate::object::{ETag, ObjectLocation, ObjectMeta};

use super::keys;
use crate::ranges::{CONTENT, every_form_holds_at};
use crate::support::content::Pattern;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::shop::{Kind, Presigns, Shop};
use crate::support::uri::{self, SPELLINGS};

const WINDOW: u64 = 8 << 20;

fn path(shop: &impl Shop, key: &str) -> String {
    uri::project("1", &shop.uri(key))
}

/// Whole, by HEAD, and in every form of range, around a window's end.
pub async fn ranges(shop: &impl Shop, gateway: &Gateway) {
    for size in [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 5] {
        let key = format!("{size}.mp4");
        shop.put(&key, CONTENT.bytes(size)).await;
        let path = path(shop, &key);
        every_form_holds_at(gateway, &path, size).await;
        let head = gateway.head(&path).answer().await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), size.to_string());
        assert_eq!(head.header("content-type"), "video/mp4");
        let whole = gateway.get(&path).send().await;
        assert_eq!(whole.compare(CONTENT, 0).await, (size, true), "{key}");
    }
}

/// A strong tag, the same for each look at one version, that conditions are held against.
pub async fn conditions(shop: &impl Shop, gateway: &Gateway) {
    shop.put("clip.mp4", CONTENT.bytes(1000)).await;
    let path = path(shop, "clip.mp4");
    let etag = gateway.get(&path).answer().await.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 2, "{etag}");
    for (name, value, status) in [
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"other\"", 200),
        ("if-match", etag.as_str(), 200),
        ("if-match", "\"other\"", 412),
    ] {
        for ask in [gateway.get(&path), gateway.head(&path)] {
            let answer = ask.header(name, value).answer().await;
            assert_eq!(answer.status, status, "{name}: {value}");
            let told = if status == 412 { "" } else { etag.as_str() };
            assert_eq!(answer.header("etag"), told);
        }
    }
    for (tag, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let ask = gateway.get(&path).range("bytes=5-9");
        let answer = ask.header("if-range", tag).answer().await;
        assert_eq!(answer.status, status, "if-range: {tag}");
    }
}

/// 404, the same for a key below another, and for one that was there.
pub async fn missing(shop: &impl Shop, gateway: &Gateway) {
    shop.put("there.mp4", vec![1]).await;
    shop.put("missing.mp4", vec![1]).await;
    let path_of_it = path(shop, "missing.mp4");
    assert_eq!(gateway.get(path_of_it).answer().await.status, 200);
    shop.remove("missing.mp4").await;
    for key in ["missing.mp4", "there.mp4/below.mp4", "no/such/way.mp4"] {
        let path = path(shop, key);
        assert_eq!(gateway.get(&path).answer().await.status, 404, "{key}");
        assert_eq!(gateway.head(&path).answer().await.status, 404, "{key}");
    }
}

/// What an object holds: its own key.
fn content(key: &str) -> Vec<u8> {
    format!("the object named {key}").into_bytes()
}

/// Each key of the table names its own object and no other, in each spelling of `fileuri` and in every dialect. What
/// the store cannot have is refused.
pub async fn odd_keys(shop: &impl Shop, gateway: &Gateway) {
    let keys = keys::of(shop.kind());
    for key in &keys {
        shop.put(key, content(key)).await;
    }
    for key in &keys {
        let uris = shop.uris(key);
        let spelled = SPELLINGS.iter().map(|(_, spell)| spell(&uris[0]));
        let others = uris[1..].iter().map(|uri| uri::percent(uri));
        for fileuri in spelled.chain(others) {
            // As Label Studio's audio player asks.
            let path = format!("/projects/1/resolve/?fileuri={fileuri}&lsref=1");
            let answer = gateway.get(path).answer().await;
            let told = format!("{key:?} as {fileuri}: {:?}", answer.body);
            assert_eq!(
                (answer.status, &answer.body[..]),
                (200, &content(key)[..]),
                "{told}"
            );
        }
    }
    for (key, status, why) in keys::refused(shop.kind()) {
        for uri in shop.uris(&key) {
            let answer = gateway.get(uri::project("1", &uri)).answer().await;
            assert_eq!(answer.status, status, "{key:?} as {uri}: {why}");
        }
    }
}

/// All keys below a prefix, so many a page.
pub async fn listed(
    backend: &dyn Backend,
    bucket: &str,
    prefix: &str,
    limit: usize,
) -> Vec<String> {
    let (mut keys, mut after) = (vec![], None::<String>);
    loop {
        let page = backend.list(bucket, prefix, after.as_deref(), limit).await;
        let page = page.expect("a page");
        assert!(page.entries.len() <= limit);
        keys.extend(page.entries.into_iter().map(|listed| listed.key));
        after = page.next;
        if after.is_none() {
            keys.sort_unstable();
            return keys;
        }
    }
}

/// Every key is listed once, whatever the page, and below a prefix no other. Nothing but the table's keys may be there.
pub async fn listings(shop: &impl Shop) {
    let (backend, bucket) = opened(shop);
    let mut keys = keys::of(shop.kind());
    // As XML a name that is nothing but blanks cannot be told from none: such a blob is read, and not listed.
    keys.retain(|key| shop.kind() != Kind::Azure || !key.trim().is_empty());
    keys.sort_unstable();
    for (prefix, limit) in [
        ("", 1000),
        ("", 7),
        ("deep", 2),
        ("deep/", 1),
        ("deep/er/", 2),
        ("none/", 5),
    ] {
        let below: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let found = listed(&backend, &bucket, prefix, limit).await;
        let lost: Vec<_> = below.iter().filter(|key| !found.contains(key)).collect();
        let more: Vec<_> = found.iter().filter(|key| !below.contains(key)).collect();
        let told = format!("{prefix:?}, {limit} a page: lost {lost:?}, more {more:?}");
        assert!(found.iter().eq(below), "{told}");
    }
}

/// A 303 leads to the object whatever its key, and its URL ends. The table's keys are there.
pub async fn signed_urls(shop: &impl Shop) {
    if shop.presigns() == Presigns::Never {
        return;
    }
    let section = shop.signing_section() + "delivery = 'redirect'\npresign_expiry = ";
    let location = async |gateway: &Gateway, key: &str| {
        let answer = gateway
            .get(uri::project("1", &shop.uri(key)))
            .answer()
            .await;
        assert_eq!(answer.status, 303, "{key:?}: {}", answer.text());
        answer.header("location").to_owned()
    };
    let gateway = Setup::over(&(section.clone() + "'1h'")).start().await;
    for key in keys::of(shop.kind()) {
        let url = location(&gateway, &key).await;
        assert_eq!(
            shop.fetch(&url).await,
            (200, content(&key)),
            "{key:?}: {url}"
        );
    }
    let gateway = Setup::over(&(section + "'1s'")).start().await;
    let url = location(&gateway, "plain.mp4").await;
    if let Presigns::For(field) = shop.presigns() {
        let url = url::Url::parse(&url).expect("a URL");
        let life = url.query_pairs().find(|(name, _)| name == field);
        assert_eq!(life.expect("it says so").1, "1");
        return;
    }
    // Garage calls it a bad request, the others forbid it.
    let ended = |status| matches!(status, 400 | 403);
    eventually("the URL ends", async || {
        ended(shop.fetch(&url).await.0).then_some(())
    })
    .await;
}

/// A version that is replaced by one of the same length: a body under way is cut or of one version, and the next
/// request has the new one. The gateway must believe no metadata (`cache.metadata_max_age = "0s"`).
pub async fn changes(shop: &impl Shop, gateway: &Gateway) {
    let (old, new) = (Pattern(1), Pattern(2));
    let size = 6 * WINDOW;
    shop.put("a.mp4", old.bytes(size)).await;
    let path = path(shop, "a.mp4");
    let mut reply = gateway.get(&path).send().await;
    let etag = reply.header("etag").to_owned();
    let piece = reply.next().await.expect("a piece").expect("it holds");
    assert!(old.holds(0, &piece));
    let read = piece.len() as u64;
    shop.put("a.mp4", new.bytes(size)).await;
    let (more, whole) = reply.compare(old, read).await;
    assert!(!whole, "the body ended as if it were whole");
    assert!(read + more < size);

    let reply = gateway.get(&path).send().await;
    assert_ne!(reply.header("etag"), etag);
    assert_eq!(reply.compare(new, 0).await, (size, true));
    let last = gateway.get(&path).range("bytes=-9").send().await;
    assert_eq!(last.compare(new, size - 9).await, (9, true));
}

/// The backend of a store, retried as in a gateway (fake-gcs-server resets a connection now and then), and the name of its bucket.
fn opened(shop: &impl Shop) -> (impl Backend, Arc<str>) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = Setup::over(&shop.section()).write(directory.path());
    let config = lockgate::config::load(&file, [])
        .expect("it is whole")
        .config;
    let rules = lockgate::app::storage_rules(&config);
    let parts = lockgate::app::backend(&config.storages[0], config.delivery.stall_timeout);
    let backend = Retry::new(parts.expect("a client").backend);
    (backend, rules.rules()[0].names.bucket())
}

/// What a backend answered: metadata and bytes.
type Read = Result<Option<(ObjectMeta, Vec<u8>)>, BackendError>;

/// A range on a condition, after a HEAD on the same, which must agree; `None` is "not modified".
async fn read(backend: &dyn Backend, call: Call<'_>, range: Range<u64>) -> Read {
    let head = backend.head(call.clone()).await;
    let fetched = match (backend.get(call, range).await, head) {
        (Ok(Conditional::Is(fetched)), Ok(Conditional::Is(meta))) => {
            assert_eq!(fetched.meta, meta);
            fetched
        }
        (Ok(Conditional::NotModified), Ok(Conditional::NotModified)) => return Ok(None),
        // Of what is empty or ends before, the head is there.
        (Err(error), Err(_)) | (Err(error @ BackendError::RangeNotSatisfiable), Ok(_)) => {
            return Err(error);
        }
        (get, head) => panic!("GET: {get:?}; HEAD: {head:?}"),
    };
    let length = fetched.range.end - fetched.range.start;
    let pieces: Vec<_> = fetched.body.try_collect().await?;
    assert_eq!(
        pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(),
        length
    );
    Ok(Some((fetched.meta, pieces.concat())))
}

/// A read is of the version that it names, and of no other.
pub async fn versions(shop: &impl Shop) {
    let (backend, bucket) = opened(shop);
    let location = ObjectLocation {
        storage: "media".into(),
        epoch: 1,
        bucket,
        key: "version.mp4".into(),
    };
    let ask = async |condition, range| {
        let call = Call::about(&location).on(condition);
        read(&backend, call, range).await
    };
    shop.put("version.mp4", Pattern(1).bytes(3000)).await;
    let (meta, bytes) = ask(Condition::None, 17..2000)
        .await
        .expect("it reads")
        .expect("it is there");
    assert_eq!(meta.complete_length, 3000);
    assert!(bytes.len() == 1983 && Pattern(1).holds(17, &bytes));
    let (_, end) = ask(Condition::None, 2990..9000)
        .await
        .expect("it reads")
        .expect("it is there");
    assert!(end.len() == 10 && Pattern(1).holds(2990, &end));
    let past = ask(Condition::None, 3000..3001).await;
    assert!(
        matches!(past, Err(BackendError::RangeNotSatisfiable)),
        "{past:?}"
    );

    let this = || Condition::IfMatch(meta.etag.clone());
    let other_than_this = || Condition::IfNoneMatch(meta.etag.clone());
    assert_eq!(
        ask(this(), 17..2000).await.expect("it reads"),
        Some((meta.clone(), bytes))
    );
    assert_eq!(
        ask(other_than_this(), 0..9).await.expect("it answers"),
        None
    );
    let foreign = ETag::strong("\"of-another-store&x=1\"").expect("a tag");
    let foreign = ask(Condition::IfMatch(foreign), 0..9).await;
    assert!(matches!(foreign, Err(BackendError::Changed)), "{foreign:?}");

    shop.put("version.mp4", Pattern(2).bytes(3000)).await;
    let changed = ask(this(), 0..9).await;
    assert!(matches!(changed, Err(BackendError::Changed)), "{changed:?}");
    let (new, bytes) = ask(other_than_this(), 0..9)
        .await
        .expect("it reads")
        .expect("it is another");
    assert_ne!(new.etag, meta.etag);
    assert!(bytes.len() == 9 && Pattern(2).holds(0, &bytes));

    shop.put("version.mp4", vec![]).await;
    let empty = ask(Condition::None, 0..1).await;
    assert!(
        matches!(empty, Err(BackendError::RangeNotSatisfiable)),
        "{empty:?}"
    );
    shop.remove("version.mp4").await;
    let gone = ask(Condition::None, 0..1).await;
    assert!(matches!(gone, Err(BackendError::NotFound)), "{gone:?}");
}
