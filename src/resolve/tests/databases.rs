//! Which `redis://` URIs name a value of which database.

use super::*;

fn redis(host: &str, port: u16, db: u32) -> Storages {
    let names = Names::Redis {
        host: host.into(),
        port,
        db,
    };
    Storages::new(vec![rule("a", names, "", None)])
}

#[test]
fn a_redis_uri_names_server_database_and_key() {
    let usual = ("cache.example.com", 6379, 0);
    for ((host, port, db), uri, key) in [
        (usual, "redis://cache.example.com:6379/0/k", Some("k")),
        (usual, "redis://cache.example.com/0/k", Some("k")),
        (usual, "redis://CACHE.example.com/0/k", Some("k")),
        (usual, "redis://cache.example.com/k", Some("k")),
        (usual, "redis:///k", Some("k")),
        (usual, "redis:///0/k", Some("k")),
        (usual, "redis:///0/a b#?%20/c", Some("a b#?%20/c")),
        (usual, "redis:///0//k", Some("/k")),
        (usual, "redis:///0/2024/k", Some("2024/k")),
        (usual, "redis:///images:7", Some("images:7")),
        (usual, "redis:///0x/k", Some("0x/k")),
        (usual, "redis:///7", Some("7")),
        (usual, "redis:///0/", None),
        (usual, "redis:///2024/k", None),
        (usual, "redis:///99999999999/k", None),
        (usual, "redis://cache.example.com:6380/0/k", None),
        (usual, "redis://cache.example.com:/0/k", None),
        (usual, "redis://cache/0/k", None),
        (usual, "redis://me@cache.example.com/0/k", None),
        (
            ("10.0.0.1", 6380, 3),
            "redis://10.0.0.1:6380/3/k",
            Some("k"),
        ),
        (("10.0.0.1", 6380, 3), "redis://10.0.0.1/3/k", None),
        (("10.0.0.1", 6380, 3), "redis://10.0.0.1:6380/0/k", None),
        (("::1", 6379, 0), "redis://[::1]:6379/0/k", Some("k")),
        (("::1", 6379, 0), "redis://[::1]/0/k", Some("k")),
    ] {
        let found = resolved(&redis(host, port, db), &["a"], uri);
        let expected = key
            .map(|key| format!("a:{db}:{key}"))
            .ok_or(Denied::NoStorage);
        assert_eq!(found, expected, "{uri}");
    }
}

#[test]
fn a_value_of_a_database_is_no_file_and_no_object() {
    for uri in ["local://a/0/k", "s3://0/k", "dbx://Volumes/a/b/c/k"] {
        let found = resolved(&redis("h", 6379, 0), &["a"], uri);
        assert_eq!(found, Err(Denied::NoStorage), "{uri}");
    }
}
