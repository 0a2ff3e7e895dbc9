//! What needs no server: tags, and what a workspace says. The Files API itself is tried in `tests/it/volumes.rs`.

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

const VERSION: Version = Version {
    complete_length: 0x1f4,
    modified: 1_700_000_000,
};

#[test]
fn a_settled_version_has_one_tag_and_names_itself_by_it() {
    let tag = VERSION.tag(at(1_700_000_002));
    assert_eq!(tag, "\"1f4-6553f100\"");
    assert_eq!(tag, VERSION.tag(at(1_800_000_000)));
    let etag = ETag::strong(&tag).unwrap();
    assert_eq!(Version::of(&etag), Some(VERSION));
    assert_eq!(VERSION.http_date(), "Tue, 14 Nov 2023 22:13:20 GMT");
}

#[test]
fn a_version_of_this_very_second_has_a_tag_that_no_other_look_repeats() {
    for now in [1_699_999_999, 1_700_000_000, 1_700_000_001] {
        let (one, other) = (VERSION.tag(at(now)), VERSION.tag(at(now)));
        assert_ne!(one, other);
        let etag = ETag::strong(&one).unwrap();
        assert_eq!(
            Version::of(&etag),
            Some(VERSION),
            "and yet it can be asked for"
        );
    }
}

#[test]
fn a_tag_that_is_not_ours_names_no_version() {
    for tag in ["abc", "1f4", "1f4-", "-6553f100", "x-y"] {
        assert_eq!(Version::of(&ETag::strong(tag).unwrap()), None, "{tag}");
    }
}

#[test]
fn what_a_workspace_says_is_told_apart() {
    use BackendError as E;
    let said = |status: u16, code: &str| {
        let document =
            format!("{{\"error_code\":\"{code}\",\"message\":\"for anna@example.com\"}}");
        refusal(StatusCode::from_u16(status).unwrap(), document.as_bytes())
    };
    type Is = fn(&E) -> bool;
    let table: &[(u16, &str, Is)] = &[
        (404, "NOT_FOUND", |e| matches!(e, E::NotFound)),
        (404, "RESOURCE_DOES_NOT_EXIST", |e| matches!(e, E::NotFound)),
        (404, "", |e| matches!(e, E::NotFound)),
        (404, "CATALOG_DOES_NOT_EXIST", |e| {
            matches!(e, E::NoSuchBucket)
        }),
        (404, "SCHEMA_DOES_NOT_EXIST", |e| {
            matches!(e, E::NoSuchBucket)
        }),
        (404, "VOLUME_DOES_NOT_EXIST", |e| {
            matches!(e, E::NoSuchBucket)
        }),
        (
            401,
            "UNAUTHENTICATED",
            |e| matches!(e, E::AccessDenied(why) if why.contains("token")),
        ),
        (
            403,
            "PERMISSION_DENIED",
            |e| matches!(e, E::AccessDenied(why) if why == "PERMISSION_DENIED"),
        ),
        (412, "", |e| matches!(e, E::Changed)),
        (416, "", |e| matches!(e, E::RangeNotSatisfiable)),
        (429, "RESOURCE_EXHAUSTED", |e| {
            matches!(e, E::Throttled { .. })
        }),
        (503, "TEMPORARILY_UNAVAILABLE", |e| {
            matches!(e, E::Throttled { .. })
        }),
        (500, "INTERNAL_ERROR", |e| matches!(e, E::Unavailable(_))),
        (400, "INVALID_PARAMETER_VALUE", |e| {
            matches!(e, E::Protocol(_))
        }),
        (302, "", |e| matches!(e, E::Protocol(_))),
    ];
    for (status, code, is) in table {
        let error = said(*status, code);
        assert!(is(&error), "{status} {code}: {error:?}");
        assert!(!error.to_string().contains("anna"), "{error}");
    }
    let no_document = refusal(StatusCode::NOT_FOUND, b"");
    assert!(matches!(no_document, E::NotFound), "a HEAD has none");
}
