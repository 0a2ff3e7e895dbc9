//! Keys with every byte kept: each in every spelling of `fileuri` and in every dialect that can name it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::support::fake_gcs::FakeGcs;
use crate::support::garage::Garage;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::uri::{SPELLINGS, percent};

/// A bucket whose name has dots: in path style alone it can be named.
const BUCKET: &str = "team.media.v2";

/// What stays as it is in the path of an `https://` URI (RFC 3986 §3.3, `+` among it).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+')
    .remove(b'(')
    .remove(b')')
    .remove(b'&')
    .remove(b'=');

pub fn keys() -> Vec<String> {
    let written = [
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
        "a//b.mp4",
        "/begins with a slash.mp4",
        "//two.mp4",
        "ends with a slash/",
        "ünïcödé/日本語/🎬.mp4",
        "e\u{301} is not \u{e9}.mp4",
        "quote\"s' and `ticks`.mp4",
        "back\\slash|pipe^caret.mp4",
        "semi;colon,comma:colon@at=is!bang$dollar*star.mp4",
        "<angle>.mp4",
        "~tilde_under-dash.mp4",
        "CaseMatters.mp4",
        "casematters.mp4",
    ];
    // A key's limit is 1,024 bytes; in two-byte letters, that is what is counted.
    let longest = format!("{}.mp4", "é".repeat(510));
    written
        .into_iter()
        .map(str::to_owned)
        .chain([longest])
        .collect()
}

/// `.` and `..` are only bytes in an object store.
pub const DOTS: [&str; 6] = [
    "a/../b.mp4",
    "a/./b.mp4",
    "../a.mp4",
    "./a.mp4",
    "a/..",
    "...",
];

/// What an object holds: its own key.
pub fn content(key: &str) -> String {
    format!("the object named {key}")
}

async fn is_served(gateway: &Gateway, key: &str, fileuri: &str, told: &str) {
    let path = format!("/projects/1/resolve/?fileuri={fileuri}&lsref=1");
    let answer = gateway.get(path).answer().await;
    assert_eq!(answer.status, 200, "{key:?}, {told}: {}", answer.text());
    assert_eq!(answer.text(), content(key), "{told}");
}

async fn every_spelling_names_it(gateway: &Gateway, key: &str, endpoint: &str) {
    let s3 = format!("s3://{BUCKET}/{key}");
    for (told, spell) in SPELLINGS {
        is_served(gateway, key, &spell(&s3), told).await;
    }
    let https = format!("{endpoint}/{BUCKET}/{}", utf8_percent_encode(key, PATH));
    is_served(gateway, key, &percent(&https), "by the endpoint's URL").await;
    let encoded = format!("{endpoint}/{BUCKET}/{}", percent(key));
    is_served(
        gateway,
        key,
        &percent(&encoded),
        "by the endpoint's URL, all encoded",
    )
    .await;
}

#[tokio::test]
async fn every_key_is_served_in_every_spelling() {
    let store = Store::start().await;
    let gateway = Setup::over(&store.section(BUCKET)).start().await;
    let endpoint = store.endpoint().as_str().trim_end_matches('/').to_owned();
    for key in keys().iter().map(String::as_str).chain(DOTS) {
        store.put(BUCKET, key, content(key).into_bytes(), Some("text/plain"));
    }
    for key in keys().iter().map(String::as_str).chain(DOTS) {
        every_spelling_names_it(&gateway, key, &endpoint).await;
    }
}

#[tokio::test]
async fn every_key_is_served_from_garage() {
    let Some(garage) = Garage::start().await else {
        return;
    };
    garage.create_bucket(BUCKET).await;
    let gateway = Setup::over(&garage.section(BUCKET)).start().await;
    for key in keys() {
        garage.put(BUCKET, &key, "text/plain", content(&key)).await;
    }
    for key in keys() {
        let fileuri = percent(&format!("s3://{BUCKET}/{key}"));
        is_served(&gateway, &key, &fileuri, "from garage").await;
    }
}

#[tokio::test]
async fn every_key_is_served_from_google_cloud_storage() {
    let Some(gcs) = FakeGcs::start(BUCKET).await else {
        return;
    };
    let gateway = Setup::over(&gcs.section(BUCKET)).start().await;
    let keys = || keys().into_iter().chain(DOTS.map(str::to_owned));
    for key in keys() {
        gcs.put(BUCKET, &key, content(&key)).await;
    }
    for key in keys() {
        for (told, spell) in SPELLINGS {
            is_served(
                &gateway,
                &key,
                &spell(&format!("gs://{BUCKET}/{key}")),
                told,
            )
            .await;
        }
        let encoded = utf8_percent_encode(&key, PATH);
        for uri in [
            format!("https://storage.googleapis.com/{BUCKET}/{encoded}"),
            format!("https://{BUCKET}.storage.googleapis.com/{encoded}"),
        ] {
            is_served(&gateway, &key, &percent(&uri), &uri).await;
        }
    }
}

#[tokio::test]
async fn amazons_own_hosts_name_the_bucket_too() {
    let store = Store::start().await;
    let gateway = Setup::over(&store.section("media")).start().await;
    let key = "a b+c.mp4";
    store.put("media", key, content(key).into_bytes(), Some("text/plain"));
    for uri in [
        "https://media.s3.eu-central-1.amazonaws.com/a%20b+c.mp4",
        "https://s3.eu-central-1.amazonaws.com/media/a%20b+c.mp4",
        "https://media.s3.amazonaws.com/a%20b+c.mp4",
        "https://s3.amazonaws.com/media/a%20b%2Bc.mp4",
        "https://media.s3.amazonaws.com/a%20b+c.mp4?versionId=1#t=10",
    ] {
        is_served(&gateway, key, &percent(uri), uri).await;
    }
}

#[tokio::test]
async fn a_presigned_object_keeps_every_byte_of_its_key() {
    let store = Store::start().await;
    let section = store.section(BUCKET) + "delivery = 'redirect'\n";
    let gateway = Setup::over(&section).start().await;
    for key in keys().iter().map(String::as_str).chain(DOTS) {
        store.put(BUCKET, key, content(key).into_bytes(), Some("text/plain"));
        let path = crate::support::uri::project("1", &format!("s3://{BUCKET}/{key}"));
        let redirect = gateway.get(path).answer().await;
        assert_eq!(redirect.status, 303, "{key:?}");
        let answer = gateway
            .client()
            .get(redirect.header("location"))
            .answer()
            .await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, content(key).as_str()),
            "{key:?}"
        );
    }
}
