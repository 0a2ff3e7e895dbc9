//! `databricks` and `redis` sections: what they mean, and what operators get wrong in them.

use super::*;
use crate::backend::config::{DatabricksIdentity, RedisConfig};

const SECRETS: &[(&str, &str)] = &[("TOKEN", "dapi-7"), ("PASSWORD", "s:e/c%r@t")];

fn with_storage(section: &str) -> Result<Loaded, Problems> {
    let (before, _) = SMALL.split_once("[[storage]]").expect("a storage");
    load_text(
        &format!("{before}[[storage]]\nid = 'a'\n{section}"),
        SECRETS,
    )
}

fn redis(section: &str) -> (RedisConfig, Vec<String>) {
    let loaded = with_storage(&format!("kind = 'redis'\n{section}")).expect("it loads");
    let BackendConfig::Redis(redis) = loaded.config.storages[0].backend.clone() else {
        panic!("it is redis");
    };
    let mut warnings = loaded.warnings;
    warnings.retain(|warning| warning.contains("storage[0]"));
    (redis, warnings)
}

#[test]
fn a_redis_url_says_the_same_as_its_parts() {
    let (parts, warnings) = redis(
        "host = 'cache'\nport = 6380\ndb = 3\nusername = 'me'\npassword = { env = 'PASSWORD' }\ntls = true",
    );
    assert_eq!(warnings, [""; 0]);
    let (url, warnings) =
        redis("url = 'rediss://me@cache:6380/3'\npassword = { env = 'PASSWORD' }");
    assert_eq!((&url, warnings.len()), (&parts, 0));
    let (url, warnings) = redis("url = 'rediss://me:s%3Ae%2Fc%25r%40t@cache:6380/3'");
    assert_eq!((&url, warnings.len()), (&parts, 1));
    assert!(warnings[0].contains("plain text"), "{warnings:?}");
    let (least, _) = redis("url = 'redis://[::1]'");
    assert_eq!(
        (least.host.as_str(), least.port, least.db),
        ("::1", 6379, 0)
    );
    assert!(!format!("{parts:?}").contains("s:e"));
}

#[test]
fn a_volume_has_one_identity() {
    let volume = "kind = 'databricks'\nhost = 'https://w.example'\nvolume = 'a/b/c'\n";
    let identity = |keys: &str| {
        let loaded = with_storage(&format!("{volume}{keys}")).expect("it loads");
        match loaded.config.storages[0].backend.clone() {
            BackendConfig::Databricks(databricks) => databricks.identity,
            other => panic!("it is databricks: {other:?}"),
        }
    };
    let secret = || crate::secret::Secret::new("dapi-7");
    let token = identity("token = { env = 'TOKEN' }");
    assert_eq!(token, DatabricksIdentity::Token(secret()));
    let client = identity("client_id = 'id'\nclient_secret = { env = 'TOKEN' }");
    let expected = DatabricksIdentity::Client {
        client_id: "id".into(),
        client_secret: secret(),
    };
    assert_eq!(client, expected);
}

#[test]
fn what_is_wrong_in_a_section_is_named() {
    let volume = "kind = 'databricks'\nhost = 'https://w.example'\nvolume = 'a/b/c'\n";
    let token = "token = { env = 'TOKEN' }\n";
    let swap = |from: &str, to: &str| format!("{volume}{token}").replace(from, to);
    for (section, key, message) in [
        (swap(token, ""), "token", "is missing"),
        (
            swap("token =", "client_secret ="),
            "client_id",
            "is missing",
        ),
        (
            swap(token, "client_id = 'id'"),
            "client_secret",
            "is missing",
        ),
        (
            format!("{volume}{token}client_id = 'id'"),
            "token",
            "one identity",
        ),
        (swap("a/b/c", "a/b/c/d"), "volume", "catalog/schema/volume"),
        (swap("a/b/c", "a//c"), "volume", "catalog/schema/volume"),
        (swap("a/b/c", "a/../c"), "volume", "catalog/schema/volume"),
        (swap("https://w.example", "w.example"), "host", "http"),
        (swap("w.example", "w.example/sql"), "host", "address"),
        (swap("TOKEN", "NOT_SET"), "token", "NOT_SET is not set"),
        (
            format!("{volume}{token}delivery = 'redirect'"),
            "delivery",
            "proxy only",
        ),
        (
            format!("{volume}{token}ca_file = 'no.pem'"),
            "ca_file",
            "no such file",
        ),
        ("kind = 'redis'".into(), "host", "is missing"),
        (
            "kind = 'redis'\nurl = 'http://cache'".into(),
            "url",
            "rediss://",
        ),
        (
            "kind = 'redis'\nurl = 'redis://cache/x'".into(),
            "url",
            "rediss://",
        ),
        (
            "kind = 'redis'\nurl = 'redis://cache'\ndb = 1".into(),
            "url",
            "leave those out",
        ),
        (
            "kind = 'redis'\nhost = 'h'\nusername = 'me'".into(),
            "password",
            "is missing",
        ),
        (
            "kind = 'redis'\nhost = 'h'\ndelivery = 'redirect'".into(),
            "delivery",
            "no URL",
        ),
    ] {
        let problems = with_storage(&section).expect_err(&section).to_string();
        let named = problems.contains(&format!("storage[0].{key}"));
        assert!(named && problems.contains(message), "{section}: {problems}");
    }
}
