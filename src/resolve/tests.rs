//! What `resolve` promises, as tables.

use super::*;
use crate::project::{MediaRule, Project};

mod databases;

fn rule(id: &str, names: Names, prefix: &str, pattern: Option<&str>) -> StorageRule {
    StorageRule {
        id: id.into(),
        epoch: 3,
        names,
        prefix: prefix.into(),
        pattern: pattern.map(|pattern| Regex::new(pattern).unwrap()),
        delivery: Delivery::Proxy,
        presign_expiry: Duration::from_secs(60),
    }
}

fn s3(bucket: &str, endpoint: Option<&str>) -> Names {
    let endpoint = endpoint.map(|url| url.parse().unwrap());
    Names::S3 {
        bucket: bucket.into(),
        endpoint,
    }
}

fn permit(storages: &[&str], uri: &str) -> Permit {
    let project = Project {
        id: "1".into(),
        storages: storages.iter().map(|id| StorageId::from(*id)).collect(),
        members: Default::default(),
        groups: Default::default(),
        media: MediaRule::Task,
    };
    Permit::for_test(MediaUri::parse(uri).unwrap(), vec![project.into()])
}

/// `storage:bucket:key`, or the denial.
fn resolved(storages: &Storages, of_project: &[&str], uri: &str) -> Result<String, Denied> {
    let object = storages.resolve(&permit(of_project, uri))?;
    let ObjectLocation {
        storage,
        bucket,
        key,
        epoch,
    } = object.location();
    assert_eq!(*epoch, 3);
    assert_eq!(object.presign_expiry(), Duration::from_secs(60));
    Ok(format!("{storage}:{bucket}:{key}"))
}

#[test]
fn a_key_is_read_back_from_the_uri_that_names_it() {
    let azure = Names::Azure {
        account: "acc".into(),
        container: "c".into(),
    };
    let volume = Names::Volume {
        volume: "c/s/v".into(),
    };
    let redis = |host: &str| Names::Redis {
        host: host.into(),
        port: 6380,
        db: 2,
    };
    let gcs = Names::Gcs { bucket: "b".into() };
    let minio = s3("b", Some("http://127.0.0.1:9000"));
    for names in [
        minio,
        gcs,
        azure,
        volume,
        redis("h"),
        redis("::1"),
        Names::Local,
    ] {
        let id = StorageId::from("disk");
        let uri = names.uri("a/b c+d%20.png").unwrap();
        let read = names.key(&id, &MediaUri::parse(&uri.to_string()).unwrap());
        assert_eq!(read.as_deref(), Some("a/b c+d%20.png"), "{uri}");
    }
}

#[test]
fn a_bucket_of_googles_behind_its_s3_interface_is_named_by_googles_uris_too() {
    for (endpoint, found) in [
        (Some("https://storage.googleapis.com"), true),
        (Some("https://storage.googleapis.com:8443"), false),
        (Some("https://storage.googleapis.com.test"), false),
        (Some("http://127.0.0.1:9000"), false),
        (None, false),
    ] {
        let names = s3("b", endpoint);
        let key = |uri: &str| names.key(&"a".into(), &MediaUri::parse(uri).unwrap());
        for uri in [
            "https://storage.googleapis.com/b/k/x",
            "https://b.storage.googleapis.com/k/x",
        ] {
            assert_eq!(key(uri).is_some(), found, "{endpoint:?} {uri}");
        }
        assert_eq!(key("s3://b/k/x").as_deref(), Some("k/x"));
        assert_eq!(key("https://storage.googleapis.com/other/k/x"), None);
    }
}

#[test]
fn a_prefix_ends_at_a_component_and_bounds_what_is_seen() {
    for (prefix, key, within) in [
        ("", "x", true),
        ("", "/x", true),
        ("data", "data/x", true),
        ("data/", "data/x", true),
        ("data", "data//x", true),
        ("data/raw", "data/raw/x/y", true),
        ("data", "data-private/x", false),
        ("data/", "data-private/x", false),
        ("data", "data", false),
        ("data/", "data", false),
        ("data", "Data/x", false),
        ("data", "x/data/x", false),
        ("data", "/data/x", false),
        ("data//", "data/x", false),
        ("data//", "data//x", true),
    ] {
        let storages = Storages::new(vec![rule("a", s3("b", None), prefix, None)]);
        let found = resolved(&storages, &["a"], &format!("s3://b/{key}"));
        let expected = if within {
            Ok(format!("a:b:{key}"))
        } else {
            Err(Denied::NoStorage)
        };
        assert_eq!(found, expected, "{prefix} {key}");
    }
}

#[test]
fn the_longest_prefix_wins_and_among_equals_the_projects_order() {
    let storages = Storages::new(vec![
        rule("all", s3("b", None), "", None),
        rule("deep", s3("b", None), "data/deep", None),
        rule("data", s3("b", None), "data", None),
        rule("slash", s3("b", None), "data/", None),
        rule("png", s3("b", None), "data/deep/png", Some(r"\.png$")),
    ]);
    for (of_project, key, storage) in [
        (&["all", "data", "deep"][..], "data/deep/x", Some("deep")),
        (&["deep", "data", "all"], "data/deep/x", Some("deep")),
        (&["all", "data", "deep"], "data/x", Some("data")),
        (&["data", "slash"], "data/x", Some("data")),
        (&["slash", "data"], "data/x", Some("slash")),
        (&["all", "all"], "x", Some("all")),
        (&["png", "all"], "data/deep/png/x.png", Some("png")),
        (&["png", "all"], "data/deep/png/x.gif", Some("all")),
        (&["png", "gone"], "data/deep/png/x.gif", None),
        (&["data"], "other/x", None),
        (&[], "data/x", None),
    ] {
        let found = resolved(&storages, of_project, &format!("s3://b/{key}"));
        let expected = storage.map(|storage| format!("{storage}:b:{key}"));
        assert_eq!(found.ok(), expected, "{of_project:?} {key}");
    }
}

#[test]
fn a_pattern_bounds_what_is_seen_and_is_searched_in_the_whole_key() {
    for (pattern, key, within) in [
        (r"\.wav$", "data/a.wav", true),
        (r"\.wav$", "data/a.wav.exe", false),
        (r"^data/[0-9]+/", "data/12/x", true),
        (r"^[0-9]+/", "data/12/x", false),
        ("a", "data/b", true),
    ] {
        let storages = Storages::new(vec![rule("a", s3("b", None), "data", Some(pattern))]);
        let found = resolved(&storages, &["a"], &format!("s3://b/{key}"));
        assert_eq!(found.is_ok(), within, "{pattern} {key}");
    }
}

#[test]
fn a_uri_of_the_storages_own_endpoint_names_its_objects() {
    for (endpoint, uri, key) in [
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9000/team.media/a%20b//c?X-Amz-Signature=1",
            Some("a b//c"),
        ),
        ("http://127.0.0.1:9000", "s3://team.media/k", Some("k")),
        (
            "http://127.0.0.1:9000",
            "https://team.media.s3.amazonaws.com/k",
            Some("k"),
        ),
        (
            "https://minio.example:9000/",
            "https://team.media.MINIO.example:9000/k",
            Some("k"),
        ),
        (
            "https://minio.example",
            "https://minio.example:443/team.media/k",
            Some("k"),
        ),
        (
            "https://minio.example/s3/v1/",
            "https://minio.example/s3/v1/team.media/k",
            Some("k"),
        ),
        (
            "https://minio.example/s3",
            "https://team.media.minio.example/s3/k",
            Some("k"),
        ),
        (
            "http://[::1]:9000",
            "http://[0::1]:9000/team.media/k",
            Some("k"),
        ),
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9001/team.media/k",
            None,
        ),
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.2:9000/team.media/k",
            None,
        ),
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9000/team.mediax/k",
            None,
        ),
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9000/team.media/",
            None,
        ),
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9000/team.media",
            None,
        ),
        (
            "https://minio.example",
            "http://minio.example/team.media/k",
            None,
        ),
        (
            "https://minio.example",
            "https://evilminio.example/team.media/k",
            None,
        ),
        (
            "https://minio.example",
            "https://other.minio.example/team.media/k",
            None,
        ),
        (
            "https://minio.example",
            "https://minio.example.evil/team.media/k",
            None,
        ),
        (
            "https://minio.example/s3",
            "https://minio.example/team.media/k",
            None,
        ),
    ] {
        let storages = Storages::new(vec![rule("a", s3("team.media", Some(endpoint)), "", None)]);
        let found = resolved(&storages, &["a"], uri);
        assert_eq!(
            found.ok(),
            key.map(|key| format!("a:team.media:{key}")),
            "{endpoint} {uri}"
        );
    }
    let without_endpoint = Storages::new(vec![rule("a", s3("b", None), "", None)]);
    assert!(resolved(&without_endpoint, &["a"], "http://127.0.0.1:9000/b/k").is_err());
}

#[test]
fn each_kind_answers_to_its_own_dialects() {
    let storages = Storages::new(vec![
        rule("s3", s3("b", None), "", None),
        rule("gcs", Names::Gcs { bucket: "b".into() }, "", None),
        rule(
            "azure",
            Names::Azure {
                account: "acc".into(),
                container: "b".into(),
            },
            "",
            None,
        ),
        rule(
            "volume",
            Names::Volume {
                volume: "a/b/c".into(),
            },
            "d",
            None,
        ),
        rule("disk", Names::Local, "clips", None),
        rule("tape", Names::Local, "", None),
    ]);
    let all = ["s3", "gcs", "azure", "volume", "disk", "tape"];
    for (uri, found) in [
        ("s3://b/k", Some("s3:b:k")),
        ("s3://B/k", None),
        ("gs://b/k", Some("gcs:b:k")),
        ("azure-blob://b/k", Some("azure:b:k")),
        ("https://acc.blob.core.windows.net/b/k", Some("azure:b:k")),
        ("https://other.blob.core.windows.net/b/k", None),
        ("dbx://Volumes/a/b/c/d/k", Some("volume:a/b/c:d/k")),
        ("dbx://Volumes/a/b/c/e/k", None),
        ("dbx://Volumes/a/b/x/d/k", None),
        ("redis://b/k", None),
        (
            "/data/local-files/?d=clips/a.wav",
            Some("disk::clips/a.wav"),
        ),
        ("/data/local-files/?d=a.wav", Some("tape::a.wav")),
        ("local://tape/clips/a.wav", Some("tape::clips/a.wav")),
        ("local://disk/clips/a.wav", Some("disk::clips/a.wav")),
        ("local://disk/a.wav", None),
        ("local://Disk/clips/a.wav", None),
    ] {
        assert_eq!(
            resolved(&storages, &all, uri).ok().as_deref(),
            found,
            "{uri}"
        );
    }
    assert_eq!(storages.rules().len(), 6);
    assert!(storages.get(&"tape".into()).is_some() && storages.get(&"x".into()).is_none());
}

#[test]
fn an_own_storage_goes_before_the_place_that_the_access_source_names() {
    let storages = Storages::new(vec![rule("own", s3("b", None), "clips", None)]);
    let signed = ObjectLocation {
        storage: "label-studio".into(),
        epoch: 9,
        bucket: "s3://b".into(),
        key: "clips/a".into(),
    };
    let at = |place: &Place, of_project: &[&str], uri: &str| {
        let permit = permit(of_project, uri).at(place.clone());
        let object = storages.resolve(&permit).expect("there is a place");
        (object.location().clone(), object.delivery())
    };
    let own = ("own".into(), Delivery::Proxy);
    let application = (APPLICATION.into(), Delivery::Application);
    let theirs = (signed.storage.clone(), Delivery::Proxy);
    let signed = Place::Signed(signed);
    let passed = Place::Application("/tasks/1/resolve/?fileuri=x".into());
    for (place, of_project, uri, expected) in [
        (&signed, &["own"][..], "s3://b/clips/a", &own),
        (&passed, &["own"], "s3://b/clips/a", &own),
        // The project does not use the own storage, or its prefix rules the object out.
        (&signed, &[], "s3://b/clips/a", &theirs),
        (&signed, &["own"], "s3://b/other/a", &theirs),
        (&passed, &["own"], "s3://b/other/a", &application),
    ] {
        let (location, delivery) = at(place, of_project, uri);
        assert_eq!((location.storage, delivery), *expected, "{uri}");
    }
    let (location, _) = at(&signed, &[], "s3://b/clips/a");
    assert_eq!(Place::Signed(location), signed, "taken as it is");
    let (location, _) = at(&passed, &[], "s3://b/clips/a");
    assert_eq!(&*location.key, "/tasks/1/resolve/?fileuri=x");
}
