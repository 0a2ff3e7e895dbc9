//! Preconditions in the order of RFC 9110 §13.2.2, and what they cost: nothing at storage while metadata is fresh.

use std::time::{Duration, SystemTime};

use crate::support::content::Pattern;
use crate::support::garage::Garage;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::{Object, Store};
use crate::support::{gateway_over_store, uri};

const KEY: &str = "clip.mp4";
const SIZE: u64 = 100_000;

fn path() -> String {
    uri::project("1", &format!("s3://media/{KEY}"))
}

/// An object of an hour ago: its Last-Modified is a strong validator (RFC 9110 §8.8.2.2).
fn object() -> Object {
    let mut object = Object::new(Pattern(1).bytes(SIZE), Some("video/mp4"));
    object.last_modified -= Duration::from_secs(3600);
    object
}

async fn started() -> (Store, Gateway) {
    let (store, gateway) = gateway_over_store().await;
    store.put_object("media", KEY, object());
    (store, gateway)
}

/// The conditions of one request (names with values) and the status that GET and HEAD answer with.
type Row = (Vec<(&'static str, String)>, u16);

fn table(etag: &str, last_modified: &str) -> Vec<Row> {
    let instant = httpdate::parse_http_date(last_modified).expect("a date");
    let earlier = httpdate::fmt_http_date(instant - Duration::from_secs(1));
    let later = httpdate::fmt_http_date(SystemTime::now());
    let (same, other) = (etag.to_owned(), "\"other\"".to_owned());
    let modified = last_modified.to_owned();
    vec![
        (vec![("if-none-match", same.clone())], 304),
        (vec![("if-none-match", format!("W/{same}"))], 304),
        (vec![("if-none-match", format!("{other}, {same}"))], 304),
        (
            vec![
                ("if-none-match", other.clone()),
                ("if-none-match", same.clone()),
            ],
            304,
        ),
        (vec![("if-none-match", "*".into())], 304),
        (vec![("if-none-match", other.clone())], 200),
        (vec![("if-modified-since", modified.clone())], 304),
        (vec![("if-modified-since", later.clone())], 304),
        (vec![("if-modified-since", earlier.clone())], 200),
        (vec![("if-modified-since", "yesterday".into())], 200),
        (
            vec![
                ("if-none-match", other.clone()),
                ("if-modified-since", modified.clone()),
            ],
            200,
        ),
        (
            vec![
                ("if-none-match", same.clone()),
                ("if-modified-since", earlier.clone()),
            ],
            304,
        ),
        (vec![("if-match", same.clone())], 200),
        (vec![("if-match", "*".into())], 200),
        (vec![("if-match", format!("{other}, {same}"))], 200),
        (vec![("if-match", other.clone())], 412),
        (vec![("if-match", format!("W/{same}"))], 412),
        (vec![("if-unmodified-since", modified.clone())], 200),
        (vec![("if-unmodified-since", earlier.clone())], 412),
        (vec![("if-unmodified-since", "yesterday".into())], 200),
        (
            vec![
                ("if-match", same.clone()),
                ("if-unmodified-since", earlier.clone()),
            ],
            200,
        ),
        (
            vec![("if-match", other.clone()), ("if-none-match", same.clone())],
            412,
        ),
        (
            vec![("if-match", same.clone()), ("if-none-match", same.clone())],
            304,
        ),
        // Preconditions come before the range, whether it can be satisfied or not.
        (
            vec![
                ("if-none-match", same.clone()),
                ("range", "bytes=0-9".into()),
            ],
            304,
        ),
        (
            vec![
                ("if-match", other.clone()),
                ("range", "bytes=999999999-".into()),
            ],
            412,
        ),
    ]
}

/// The validator and the status: 206 where it lets the range through, 200 where not.
fn if_range_table(etag: &str, last_modified: &str) -> Vec<(String, u16)> {
    let instant = httpdate::parse_http_date(last_modified).expect("a date");
    vec![
        (etag.to_owned(), 206),
        ("\"other\"".to_owned(), 200),
        (format!("W/{etag}"), 200),
        (
            httpdate::fmt_http_date(instant + Duration::from_secs(1)),
            200,
        ),
        (
            httpdate::fmt_http_date(instant - Duration::from_secs(1)),
            200,
        ),
        ("nonsense".to_owned(), 200),
    ]
}

async fn conditions_hold(gateway: &Gateway, path: &str) {
    let first = gateway.get(path).answer().await;
    assert_eq!(first.status, 200);
    let (etag, last_modified) = (first.header("etag"), first.header("last-modified"));
    for (fields, status) in table(etag, last_modified) {
        for method in [http::Method::GET, http::Method::HEAD] {
            let ask = gateway.client().ask(method.clone(), path).by("anna");
            let ask = fields
                .iter()
                .fold(ask, |ask, (name, value)| ask.header(name, value));
            let answer = ask.answer().await;
            assert_eq!(answer.status, status, "{method} {fields:?}");
            if status == 304 {
                assert_eq!(answer.header("etag"), etag);
                assert_eq!(answer.header("last-modified"), last_modified);
                assert!(answer.body.is_empty());
            }
        }
    }
    for (validator, status) in if_range_table(etag, last_modified) {
        let ask = gateway
            .get(path)
            .header("if-range", &validator)
            .range("bytes=10-19");
        let answer = ask.answer().await;
        assert_eq!(answer.status, status, "If-Range: {validator}");
        let (offset, length) = if status == 206 { (10, 10) } else { (0, SIZE) };
        assert_eq!(answer.body.len() as u64, length, "If-Range: {validator}");
        assert!(Pattern(1).holds(offset, &answer.body));
    }
}

#[tokio::test]
async fn preconditions_hold_in_their_order() {
    let (_store, gateway) = started().await;
    conditions_hold(&gateway, &path()).await;
}

#[tokio::test]
async fn preconditions_hold_in_their_order_over_garage() {
    let Some(garage) = Garage::start().await else {
        return;
    };
    garage.create_bucket("media").await;
    garage
        .put("media", KEY, "video/mp4", Pattern(1).bytes(SIZE))
        .await;
    let gateway = Setup::over(&garage.section("media")).start().await;
    conditions_hold(&gateway, &path()).await;
}

#[tokio::test]
async fn preconditions_hold_in_their_order_over_local_files() {
    let setup = Setup::over("kind = 'local'\nroot = 'files'\n");
    let file = format!("files/{KEY}");
    let gateway = setup.file(&file, Pattern(1).bytes(SIZE)).start().await;
    conditions_hold(
        &gateway,
        &uri::project("1", &format!("local://media/{KEY}")),
    )
    .await;
}

#[tokio::test]
async fn preconditions_on_fresh_metadata_cost_no_storage_request() {
    let (store, gateway) = started().await;
    let first = gateway.get(path()).answer().await;
    store.reset_counters();
    let (etag, last_modified) = (first.header("etag"), first.header("last-modified"));
    for (fields, status) in table(etag, last_modified) {
        if status != 200 {
            let ask = gateway.get(path());
            let ask = fields
                .iter()
                .fold(ask, |ask, (name, value)| ask.header(name, value));
            assert_eq!(ask.answer().await.status, status);
        }
    }
    assert_eq!(gateway.head(path()).answer().await.status, 200);
    assert_eq!(store.asked(KEY), 0);
}

#[tokio::test]
async fn if_range_with_the_last_modified_of_an_old_object_lets_the_range_through() {
    let (_store, gateway) = started().await;
    let first = gateway.get(path()).answer().await;
    let ask = gateway
        .get(path())
        .header("if-range", first.header("last-modified"));
    assert_eq!(ask.range("bytes=0-9").answer().await.status, 206);
}

#[tokio::test]
async fn a_cold_304_costs_one_storage_request_and_no_bytes_of_the_object() {
    let (store, gateway) = gateway_over_store().await;
    let etag = store.generate("media", KEY, Pattern(1), 100 << 20);
    let answer = gateway
        .get(path())
        .header("if-none-match", &etag)
        .answer()
        .await;
    assert_eq!(answer.status, 304);
    assert_eq!(store.asked(KEY), 1);
    assert!(store.bytes_sent() <= 8 << 20);
}

#[tokio::test]
async fn stale_metadata_is_revalidated_without_fetching_the_bytes_again() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    store.put_object("media", KEY, object());
    gateway.get(path()).answer().await;
    store.reset_counters();
    let again = gateway.get(path()).answer().await;
    assert_eq!(again.status, 200);
    assert!(Pattern(1).holds(0, &again.body));
    assert_eq!((store.asked(KEY), store.bytes_sent()), (1, 0));
}

#[tokio::test]
async fn an_object_that_changed_is_noticed_when_metadata_is_stale() {
    let store = Store::start().await;
    let setup = Setup::over(&store.section("media")).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    store.put("media", KEY, Pattern(1).bytes(SIZE), Some("video/mp4"));
    let old = gateway.get(path()).answer().await;
    store.put("media", KEY, Pattern(2).bytes(SIZE + 1), Some("video/mp4"));
    let new = gateway
        .get(path())
        .header("if-none-match", old.header("etag"))
        .answer()
        .await;
    assert_eq!(new.status, 200);
    assert_ne!(new.header("etag"), old.header("etag"));
    assert_eq!(new.body.len() as u64, SIZE + 1);
    assert!(Pattern(2).holds(0, &new.body));
}
