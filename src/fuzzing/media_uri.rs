//! Media URIs, however they are spelt: one canonical form, every byte of a key kept, no way out of a root or a prefix.

use std::path::{Component, Path};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::ids::StorageId;
use crate::media_uri::{MAX_URI_LENGTH, MediaUri, MediaUriError};
use crate::project::Delivery;
use crate::resolve::{Names, StorageRule};

/// A media URI as a task's data or a client's query may hold it.
pub fn media_uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let _ = MediaUri::from_fileuri(text);
    if let Ok(uri) = MediaUri::from_local_files(text) {
        stays_within_its_root(&uri);
    }
    let parsed = MediaUri::parse(text);
    assert_eq!(
        parsed == Err(MediaUriError::TooLong),
        text.len() > MAX_URI_LENGTH
    );
    if let Some(named) = literally(text) {
        let read = parsed.as_ref().ok().map(MediaUri::to_string);
        assert_eq!(read.as_deref(), named, "every byte of a key is kept");
    }
    let Ok(uri) = parsed else {
        return;
    };
    is_one_however_it_is_spelt(text, &uri);
    is_read_back(&uri);
    stays_within_its_root(&uri);
    names_no_other_host(&uri);
    stays_within_its_prefix(&uri);
}

/// The literal dialects by their own words: what `scheme://bucket/key` names is itself, scheme in lower case;
/// `Some(None)` where it names nothing.
fn literally(text: &str) -> Option<Option<&str>> {
    let bucket_and_key = ["s3://", "gs://", "azure-blob://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .filter(|_| text.len() <= MAX_URI_LENGTH)?;
    let slash = bucket_and_key.find('/').unwrap_or(0);
    let named = slash > 0 && slash + 1 < bucket_and_key.len();
    Some(named.then_some(text))
}

/// Contract §1: `fileuri` is base64 in either alphabet, padded or not, or percent-encoded.
fn is_one_however_it_is_spelt(text: &str, uri: &MediaUri) {
    let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let spellings = [
        encoded,
        URL_SAFE.encode(text),
        URL_SAFE_NO_PAD.encode(text),
        STANDARD.encode(text),
        STANDARD_NO_PAD.encode(text),
    ];
    for spelling in spellings {
        assert_eq!(
            MediaUri::from_fileuri(&spelling).as_ref(),
            Ok(uri),
            "{spelling}"
        );
    }
}

fn is_read_back(uri: &MediaUri) {
    let canonical = uri.to_string();
    match MediaUri::parse(&canonical) {
        Ok(read) => assert_eq!(read, *uri, "{canonical}"),
        // Percent-encoding made it longer.
        Err(error) => assert!(error == MediaUriError::TooLong, "{canonical}: {error}"),
    }
}

/// A path on a file system, by the standard library's reading of it: names alone, each once between slashes.
fn stays_within_its_root(uri: &MediaUri) {
    let (MediaUri::Local { path, .. } | MediaUri::Volume { path, .. }) = uri else {
        return;
    };
    let mut names = Vec::new();
    for component in Path::new(&**path).components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().unwrap_or_default()),
            other => panic!("{other:?} in {path:?}"),
        }
    }
    assert_eq!(names.join("/"), **path);
    assert!(!path.contains('\0'));
}

/// The host is the one that a browser would go to, so that an endpoint on one host is never taken for another's.
fn names_no_other_host(uri: &MediaUri) {
    let MediaUri::Url {
        tls, host, port, ..
    } = uri
    else {
        return;
    };
    let url = Url::parse(&uri.to_string()).expect("the canonical form is a url");
    assert_eq!(url.host_str(), Some(&**host));
    assert_eq!(url.port_or_known_default(), Some(*port));
    assert_eq!(url.scheme() == "https", *tls);
    assert!(url.username().is_empty() && url.password().is_none());
}

const PREFIX: &str = "data/in";

/// Storages of each kind, each with the same prefix.
static RULES: LazyLock<Vec<StorageRule>> = LazyLock::new(|| {
    let bucket = || Arc::from("b");
    let endpoint = |url: &str| Some(Url::parse(url).expect("a url"));
    let names = [
        Names::S3 {
            bucket: bucket(),
            endpoint: None,
        },
        Names::S3 {
            bucket: bucket(),
            endpoint: endpoint("http://127.0.0.1:9000/base"),
        },
        Names::S3 {
            bucket: bucket(),
            endpoint: endpoint("https://h"),
        },
        Names::Gcs { bucket: bucket() },
        Names::Azure {
            account: "acc".into(),
            container: bucket(),
        },
        Names::Volume {
            volume: "c/s/v".into(),
        },
        Names::Redis {
            host: "h".into(),
            port: 6379,
            db: 0,
        },
        Names::Local,
    ];
    let rule = |names| StorageRule {
        id: StorageId::new("disk"),
        epoch: 0,
        names,
        prefix: PREFIX.into(),
        pattern: None,
        delivery: Delivery::Proxy,
        presign_expiry: Duration::ZERO,
    };
    names.into_iter().map(rule).collect()
});

/// Contract §2: a prefix is an access boundary and ends at a component; and what a key is called is what is read there.
fn stays_within_its_prefix(uri: &MediaUri) {
    for rule in RULES.iter() {
        let named = rule.names.key(&rule.id, uri);
        let below = named.as_deref().and_then(|key| key.strip_prefix(PREFIX));
        let within = below.is_some_and(|rest| rest.starts_with('/'));
        let key = rule.key(uri);
        assert_eq!(key.is_some(), within, "{:?}", rule.names);
        if let Some(key) = key
            && let Some(spelt) = rule.names.uri(&key)
        {
            assert_eq!(rule.key(&spelt), Some(key), "{spelt}");
        }
    }
}
