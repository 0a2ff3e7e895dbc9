//! What `media_uri` promises, as tables.

use super::*;

fn s3(bucket: &str, key: &str) -> MediaUri {
    MediaUri::Object {
        provider: Provider::S3,
        bucket: bucket.into(),
        key: key.into(),
        account: None,
    }
}

fn local(storage: Option<&str>, path: &str) -> MediaUri {
    MediaUri::Local {
        storage: storage.map(Into::into),
        path: path.into(),
    }
}

#[test]
fn a_key_is_literal_in_a_scheme_uri() {
    for key in [
        "a",
        "a b",
        "a+b",
        "a%20b",
        "a%2",
        "a#b",
        "a?b",
        "a&b",
        "(a)",
        "a//b",
        "/a",
        "//",
        "ä/日本",
        "../a",
        "a/./b",
        "a\0b",
        " ",
        "a=b;c,d:e@f",
        "a/",
    ] {
        for bucket in ["b", "team.media", "B_x"] {
            let uri = MediaUri::parse(&format!("s3://{bucket}/{key}")).unwrap();
            assert_eq!(uri, s3(bucket, key));
        }
    }
}

#[test]
fn each_dialect_names_what_it_says() {
    let object = |provider, account: Option<&str>| MediaUri::Object {
        provider,
        bucket: "c".into(),
        key: "k/x".into(),
        account: account.map(Into::into),
    };
    for (text, named) in [
        ("S3://b/k", s3("b", "k")),
        ("gs://c/k/x", object(Provider::Gcs, None)),
        ("azure-blob://c/k/x", object(Provider::Azure, None)),
        (
            "dbx://Volumes/a/b/c/d/e.png",
            MediaUri::Volume {
                volume: "a/b/c".into(),
                path: "d/e.png".into(),
            },
        ),
        (
            "redis://1/k/x",
            MediaUri::Redis {
                authority: "1".into(),
                key: "k/x".into(),
            },
        ),
        (
            "redis:///k",
            MediaUri::Redis {
                authority: "".into(),
                key: "k".into(),
            },
        ),
        ("local://disk/a b%20/c", local(Some("disk"), "a b%20/c")),
        ("/data/local-files/?d=a/b.wav", local(None, "a/b.wav")),
        (
            "/data/local-files?d=a%20b%2Fc+d&lsref=1",
            local(None, "a b/c+d"),
        ),
        ("/data/local-files/?lsref=1&d=a%2526", local(None, "a%26")),
    ] {
        assert_eq!(MediaUri::parse(text).as_ref(), Ok(&named), "{text}");
    }
}

#[test]
fn what_names_nothing_or_traverses_is_refused() {
    use MediaUriError::*;
    let long = format!("s3://b/{}", "k".repeat(MAX_URI_LENGTH));
    for (text, error) in [
        ("", UnknownDialect),
        ("b/k", UnknownDialect),
        ("ftp://b/k", UnknownDialect),
        ("file:///etc/passwd", UnknownDialect),
        ("/data/local-filesystem/?d=a", UnknownDialect),
        ("/data/local-files/x?d=a", UnknownDialect),
        ("s3://", NamesNothing),
        ("s3://b", NamesNothing),
        ("s3://b/", NamesNothing),
        ("s3:///k", NamesNothing),
        ("redis://1/", NamesNothing),
        ("dbx://Volumes/a/b/c", NamesNothing),
        ("dbx://Tables/a/b/c/d", NamesNothing),
        ("dbx://Volumes/a/b/c/", Traverses),
        ("dbx://Volumes/a/b/../c/d", Traverses),
        ("local://disk", NamesNothing),
        ("local:///a", NamesNothing),
        ("local://disk/../a", Traverses),
        ("local://disk//a", Traverses),
        ("local://disk/a\0b", Traverses),
        ("/data/local-files/?x=a", NamesNothing),
        ("/data/local-files/?d=", NamesNothing),
        ("/data/local-files/?d=%2Fetc/passwd", Traverses),
        ("/data/local-files/?d=a/%2e%2E/b", Traverses),
        ("/data/local-files/?d=./a", Traverses),
        ("/data/local-files/?d=a/", Traverses),
        ("/data/local-files/?d=a%00", Traverses),
        ("/data/local-files/?d=%ff", NotUtf8),
        (&long, TooLong),
    ] {
        assert_eq!(MediaUri::parse(text), Err(error), "{text:.80}");
    }
}

#[test]
fn fileuri_is_a_uri_as_it_is_or_base64_of_one() {
    let tricky = s3("b", "a b?>>~~ÿ.png");
    for (raw, named) in [
        ("s3://b/k", s3("b", "k")),
        ("s3%3A%2F%2Fb%2Fa%2Bb%2525+", s3("b", "a+b%25+")),
        ("czM6Ly9iL2s=", s3("b", "k")),
        ("czM6Ly9iL2s", s3("b", "k")),
        ("czM6Ly9iL2s%3D", s3("b", "k")),
        ("L2RhdGEvbG9jYWwtZmlsZXMvP2Q9YQ==", local(None, "a")),
        ("%2Fdata%2Flocal-files%2F%3Fd%3Da%2520b", local(None, "a b")),
    ] {
        assert_eq!(MediaUri::from_fileuri(raw).as_ref(), Ok(&named), "{raw}");
    }
    for engine in [&URL_SAFE, &STANDARD] {
        let base64 = engine.encode(tricky.to_string());
        assert!(base64.contains(['-', '_', '+', '/']), "{base64}");
        assert_eq!(MediaUri::from_fileuri(&base64).as_ref(), Ok(&tricky));
        assert_eq!(
            MediaUri::from_fileuri(base64.trim_end_matches('=')).as_ref(),
            Ok(&tricky)
        );
    }
    for raw in [
        "",
        "k.png",
        "%",
        "****",
        "czM6Ly9iL2",
        "/+8=",
        "YWJj",
        "a://b/c",
    ] {
        assert_eq!(
            MediaUri::from_fileuri(raw),
            Err(MediaUriError::UnknownDialect),
            "{raw}"
        );
    }
    assert_eq!(MediaUri::from_fileuri("%ff"), Err(MediaUriError::NotUtf8));
    assert_eq!(
        MediaUri::from_fileuri("czM6Ly8="),
        Err(MediaUriError::NamesNothing)
    );
}

#[test]
fn the_canonical_spelling_reads_back() {
    for text in [
        "s3://b/ä b?c#d%20//",
        "gs://b/%",
        "azure-blob://c/a%b",
        "https://acc.blob.core.windows.net/c/a%25b%3Fc+d",
        "https://minio:9000/b/a%20%25?x",
        "http://[::1]/b//k",
        "dbx://Volumes/a/b/c/d%20",
        "redis://localhost:6379/k",
        "local://disk/a%20?b",
        "/data/local-files/?d=a%26b%2520%23",
    ] {
        let uri = MediaUri::parse(text).unwrap();
        assert_eq!(
            MediaUri::parse(&uri.to_string()).as_ref(),
            Ok(&uri),
            "{text}"
        );
    }
}

#[test]
fn a_uri_is_as_long_as_the_longest_and_no_longer() {
    let key = "k".repeat(MAX_URI_LENGTH - "s3://b/".len());
    let longest = format!("s3://b/{key}");
    assert_eq!(MediaUri::parse(&longest), Ok(s3("b", &key)));
    let longer = format!("{longest}k");
    assert_eq!(MediaUri::parse(&longer), Err(MediaUriError::TooLong));
}

#[test]
fn a_file_is_named_by_its_last_component() {
    for (text, name) in [
        ("s3://b/a/b.png", "b.png"),
        ("s3://b/b.png", "b.png"),
        ("s3://b/a/", ""),
        ("https://h/a/b%2Fc.wav?d/e", "c.wav"),
        ("dbx://Volumes/c/s/v/a/b.mp4", "b.mp4"),
        ("redis://h/0/a:b", "a:b"),
        ("local://disk/a/b.pdf", "b.pdf"),
    ] {
        assert_eq!(MediaUri::parse(text).unwrap().file_name(), name, "{text}");
    }
}

#[test]
fn a_fileuri_may_be_of_any_dialect_as_it_stands() {
    for text in ["azure-blob://c/k", "S3://b/k", "/data/local-files/?d=a"] {
        assert_eq!(MediaUri::from_fileuri(text), MediaUri::parse(text));
        assert!(MediaUri::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let pieces = [
        "s3",
        "://",
        "/",
        "%",
        "%e4",
        "https",
        "@",
        ":",
        "[",
        "..",
        "d=",
        "?",
        "ä",
        ".amazonaws.com",
        "\0",
        "",
    ];
    fastrand::seed(7);
    for _ in 0..20_000 {
        let text: String = (0..fastrand::usize(..9))
            .map(|_| pieces[fastrand::usize(..pieces.len())])
            .collect();
        if let Ok(uri) = MediaUri::parse(&text) {
            assert_eq!(
                MediaUri::parse(&uri.to_string()).as_ref(),
                Ok(&uri),
                "{text}"
            );
        }
        let _ = MediaUri::from_fileuri(&text);
    }
}
