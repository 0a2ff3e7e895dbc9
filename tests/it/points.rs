//! What every store must do, asked of a gateway in front of it: each point is a function, each store a [`Shop`].

use crate::ranges::{CONTENT, every_form_holds_at};
use crate::support::content::Pattern;
use crate::support::gateway::Gateway;
use crate::support::shop::Shop;
use crate::support::uri;

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

/// 404, and the same for a key below another.
pub async fn missing(shop: &impl Shop, gateway: &Gateway) {
    shop.put("there.mp4", vec![1]).await;
    for key in ["missing.mp4", "there.mp4/below.mp4", "no/such/way.mp4"] {
        let path = path(shop, key);
        assert_eq!(gateway.get(&path).answer().await.status, 404, "{key}");
        assert_eq!(gateway.head(&path).answer().await.status, 404, "{key}");
    }
}

/// Each key names its own object and no other.
pub async fn odd_keys(shop: &impl Shop, gateway: &Gateway, keys: &[&str]) {
    let content = |key: &str| format!("the object named {key}").into_bytes();
    for key in keys {
        shop.put(key, content(key)).await;
    }
    for key in keys {
        let answer = gateway.get(path(shop, key)).answer().await;
        assert_eq!(answer.status, 200, "{key:?}: {}", answer.text());
        assert_eq!(answer.body, content(key), "{key:?}");
    }
}

/// A version that is replaced by one of the same length: a body under way is cut or of one version, and the next
/// request has the new one. The gateway must believe no metadata (`cache.metadata_max_age = "0s"`).
pub async fn changes(shop: &impl Shop, gateway: &Gateway) {
    let (old, new) = (Pattern(1), Pattern(2));
    let size = 12 * WINDOW;
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

/// Keys that a file system can have as well.
pub const FILE_KEYS: &[&str] = &[
    "plain.mp4",
    "with space.mp4",
    " begins and ends with a space ",
    "a+b.mp4",
    "a%2Bb.mp4",
    "100%.mp4",
    "%41.mp4",
    "a#b.mp4",
    "a?b=c.mp4",
    "a&d=b.mp4",
    "(1) [2] {3}.mp4",
    "ünïcödé/日本語/🎬.mp4",
    "e\u{301} is not \u{e9}.mp4",
    "quote\"s' and `ticks`.mp4",
    "back\\slash|pipe^caret.mp4",
    "semi;colon,comma:colon@at=is!bang$dollar*star.mp4",
    "<angle>.mp4",
    "~tilde_under-dash.mp4",
    "CaseMatters.mp4",
    "casematters.mp4",
    "...",
    ".hidden",
    "deep/er/and/deeper.mp4",
    "line\nbreak.mp4",
];

/// Keys that are bytes and nothing else.
pub const BYTE_KEYS: &[&str] = &[
    "a//b.mp4",
    "/begins with a slash.mp4",
    "//two.mp4",
    "ends with a slash/",
    "a/../b.mp4",
    "a/./b.mp4",
    "../a.mp4",
    "a/..",
];
