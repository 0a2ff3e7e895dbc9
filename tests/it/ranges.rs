//! Each form of range, on objects that end just before, at and after a window: byte for byte (RFC 9110 §14).

use std::ops::Range;

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{resident_bytes, uri};

/// A window of the cache and of what storage is asked for.
const WINDOW: u64 = 8 << 20;
const MIB: u64 = 1 << 20;
pub const CONTENT: Pattern = Pattern(1);

/// What a `Range` field asks for.
enum Wanted {
    /// These bytes, in a 206.
    Part(Range<u64>),
    /// Everything, in a 200: the field is to be ignored.
    Whole,
    /// 416.
    Nothing,
}

/// Every form of field that makes sense for this size, and what it asks for.
fn forms(size: u64) -> Vec<(String, Wanted)> {
    let mut forms: Vec<(String, Wanted)> = vec![
        (format!("bytes={size}-"), Wanted::Nothing),
        (format!("bytes={}-{}", size + 5, size + 9), Wanted::Nothing),
        ("bytes=18446744073709551616-".into(), Wanted::Nothing),
        ("bytes=-0".into(), Wanted::Nothing),
        ("bytes=2-1".into(), Wanted::Whole),
        ("bytes=0-0,2-2".into(), Wanted::Whole),
        ("lines=0-0".into(), Wanted::Whole),
        ("bytes".into(), Wanted::Whole),
        ("bytes=a-b".into(), Wanted::Whole),
    ];
    let mut part = |field: String, range: Range<u64>| {
        let range = range.start..range.end.min(size);
        if range.start < range.end {
            forms.push((field, Wanted::Part(range)));
        }
    };
    let spans = [
        0..1,
        0..100,
        size / 2..size / 2 + 100,
        size.saturating_sub(1)..size,
        size.saturating_sub(50)..size + 50,
        WINDOW - 1..WINDOW,
        WINDOW..WINDOW + 1,
        WINDOW - 1..WINDOW + 1,
        WINDOW - 100..2 * WINDOW + 100,
    ];
    for span in spans.into_iter().filter(|span| span.end > 0) {
        part(format!("bytes={}-{}", span.start, span.end - 1), span);
    }
    for first_pos in [0, size / 2, size.saturating_sub(1), WINDOW - 1, WINDOW] {
        // The rest of five gibibytes is read once, by the test that is about that.
        if size - first_pos.min(size) <= 100 * MIB {
            part(format!("bytes={first_pos}-"), first_pos..size);
        }
    }
    for length in [1, 100, WINDOW + 1, size, size + 1] {
        if length > 0 && length <= 100 * MIB + 1 {
            part(
                format!("bytes=-{length}"),
                size.saturating_sub(length)..size,
            );
        }
    }
    part("BYTES=0-0".into(), 0..1);
    part(
        format!("bytes=0-{}", u64::MAX),
        0..if size <= 100 * MIB { size } else { 0 },
    );
    forms
}

async fn every_form_holds(gateway: &Gateway, key: &str, size: u64) {
    every_form_holds_at(
        gateway,
        &uri::project("1", &format!("s3://media/{key}")),
        size,
    )
    .await;
}

/// Every form of range on what this path names, which holds the first `size` bytes of [`CONTENT`].
pub async fn every_form_holds_at(gateway: &Gateway, path: &str, size: u64) {
    for (field, wanted) in forms(size) {
        let told = format!("{field} of {size}");
        let ask = gateway.get(path).range(&field);
        let reply = ask.send().await;
        match wanted {
            Wanted::Part(range) => {
                assert_eq!(reply.status(), 206, "{told}");
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                assert_eq!(reply.header("content-range"), content_range, "{told}");
                let length = range.end - range.start;
                assert_eq!(reply.header("content-length"), length.to_string(), "{told}");
                assert_eq!(
                    reply.compare(CONTENT, range.start).await,
                    (length, true),
                    "{told}"
                );
            }
            Wanted::Whole => {
                assert_eq!(reply.status(), 200, "{told}");
                assert_eq!(reply.header("content-range"), "", "{told}");
                assert_eq!(reply.header("content-length"), size.to_string(), "{told}");
                if size <= WINDOW {
                    assert_eq!(reply.compare(CONTENT, 0).await, (size, true), "{told}");
                }
            }
            Wanted::Nothing => {
                assert_eq!(reply.status(), 416, "{told}");
                assert_eq!(
                    reply.header("content-range"),
                    format!("bytes */{size}"),
                    "{told}"
                );
            }
        }
    }
}

async fn the_whole_holds(gateway: &Gateway, key: &str, size: u64) {
    let path = uri::project("1", &format!("s3://media/{key}"));
    let head = gateway.head(&path).answer().await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, size.to_string().as_str())
    );
    let reply = gateway.get(&path).send().await;
    assert_eq!(
        (reply.status(), reply.header("content-length")),
        (200, size.to_string().as_str())
    );
    assert_eq!(reply.compare(CONTENT, 0).await, (size, true), "{key}");
}

async fn gateway_over(store: &Store) -> Gateway {
    Setup::over(&store.section("media")).start().await
}

#[tokio::test]
async fn every_form_of_range_is_byte_exact_on_100_mib() {
    let store = Store::start().await;
    let gateway = gateway_over(&store).await;
    store.generate("media", "100.mp4", CONTENT, 100 * MIB);
    every_form_holds(&gateway, "100.mp4", 100 * MIB).await;
    the_whole_holds(&gateway, "100.mp4", 100 * MIB).await;
}

#[tokio::test]
async fn every_form_of_range_is_byte_exact_without_a_cache() {
    let store = Store::start().await;
    let gateway = Setup::over(&store.section("media"))
        .set("cache.memory", "0MiB")
        .start()
        .await;
    store.generate("media", "a.mp4", CONTENT, WINDOW + 1);
    every_form_holds(&gateway, "a.mp4", WINDOW + 1).await;
    the_whole_holds(&gateway, "a.mp4", WINDOW + 1).await;
}

#[tokio::test]
async fn ranges_are_the_same_over_http2() {
    let store = Store::start().await;
    let gateway = gateway_over(&store).await;
    store.generate("media", "a.mp4", CONTENT, WINDOW + 1);
    let client = crate::support::client::Client::http2(format!("http://{}", gateway.address()));
    let path = uri::project("1", "s3://media/a.mp4");
    let reply = client.get(&path).by("anna").range("bytes=-9").send().await;
    assert_eq!(reply.status(), 206);
    assert_eq!(reply.compare(CONTENT, WINDOW - 8).await, (9, true));
    let reply = client.get(&path).by("anna").send().await;
    assert_eq!(reply.compare(CONTENT, 0).await, (WINDOW + 1, true));
}

#[tokio::test]
async fn a_ranged_answer_is_cut_to_max_range_size_and_a_whole_one_never() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("delivery.max_range_size", "1MiB");
    let gateway = setup.start().await;
    store.generate("media", "a.mp4", CONTENT, 3 * MIB);
    let path = uri::project("1", "s3://media/a.mp4");
    for (field, first_pos, length) in [
        ("bytes=0-", 0, MIB),
        ("bytes=5-", 5, MIB),
        ("bytes=5-9", 5, 5),
        ("bytes=0-2000000", 0, MIB),
        ("bytes=-2000000", 3 * MIB - 2_000_000, MIB),
    ] {
        let reply = gateway.get(&path).range(field).send().await;
        assert_eq!(reply.status(), 206, "{field}");
        let content_range = format!("bytes {first_pos}-{}/{}", first_pos + length - 1, 3 * MIB);
        assert_eq!(reply.header("content-range"), content_range, "{field}");
        assert_eq!(
            reply.compare(CONTENT, first_pos).await,
            (length, true),
            "{field}"
        );
    }
    let whole = gateway.get(&path).send().await;
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.compare(CONTENT, 0).await, (3 * MIB, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_gib_are_read_without_growing_memory() {
    const SIZE: u64 = 5 << 30;
    let store = Store::start().await;
    let gateway = gateway_over(&store).await;
    store.generate("media", "5g.mp4", CONTENT, SIZE);
    every_form_holds(&gateway, "5g.mp4", SIZE).await;

    let before = resident_bytes();
    let path = uri::project("1", "s3://media/5g.mp4");
    let mut reply = gateway.get(&path).send().await;
    assert_eq!(reply.header("content-length"), SIZE.to_string());
    let (mut read, mut most) = (0, 0);
    while let Some(piece) = reply.next().await {
        let piece = piece.expect("the body is whole");
        assert!(CONTENT.holds(read, &piece), "other bytes after {read}");
        if read / (64 * MIB) != (read + piece.len() as u64) / (64 * MIB) {
            most = most.max(resident_bytes());
        }
        read += piece.len() as u64;
    }
    assert_eq!(read, SIZE);
    // The cache holds 64 MiB; the rest is room for buffers, the allocator, and other tests of this process.
    let grown = most.saturating_sub(before);
    assert!(grown < 320 * MIB, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn a_first_position_past_any_object_is_416_on_a_cold_object_too() {
    for field in [
        "bytes=9223372036854775808-",
        "bytes=18446744073709551615-",
        "bytes=9000000000000000000-9",
    ] {
        let store = Store::start().await;
        let gateway = gateway_over(&store).await;
        store.generate("media", "a.mp4", CONTENT, 100);
        let path = uri::project("1", "s3://media/a.mp4");
        let reply = gateway.get(&path).range(field).send().await;
        let expected = if field.ends_with('-') { 416 } else { 200 };
        assert_eq!(reply.status(), expected, "{field}");
    }
}
