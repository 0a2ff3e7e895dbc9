//! Values of a real Redis: what this store has alone.

use lockgate::backend::config::RedisConfig;
use lockgate::backend::redis::Redis as Backing;
use lockgate::backend::{Backend, BackendError, Call, Conditional};
use lockgate::object::ObjectLocation;
use lockgate::secret::Secret;

use crate::conformance::points::{self, listed};
use crate::ranges::CONTENT;
use crate::support::gateway::{Gateway, Setup};
use crate::support::redis::{PASSWORD, Redis};
use crate::support::shop::Shop;
use crate::support::uri;
use crate::support::{PATIENCE, eventually};

const WINDOW: usize = 8 << 20;

async fn over(section: &str) -> Gateway {
    let setup = Setup::over(section).set("cache.metadata_max_age", "0s");
    setup.start().await
}

fn config(redis: &Redis) -> RedisConfig {
    RedisConfig {
        host: "127.0.0.1".into(),
        port: redis.port(),
        db: 0,
        username: None,
        password: None,
        tls: false,
        ca_file: None,
    }
}

/// The backend itself, as this user.
fn backend(redis: &Redis, username: &str) -> Backing {
    Backing::new(
        RedisConfig {
            username: Some(username.into()),
            password: Some(Secret::new(PASSWORD)),
            ..config(redis)
        },
        PATIENCE,
    )
    .expect("a backend")
}

async fn head(backend: &Backing, key: &str) -> Result<(String, u64), BackendError> {
    let location = ObjectLocation {
        storage: "media".into(),
        epoch: 1,
        bucket: "0".into(),
        key: key.into(),
    };
    match backend.head(Call::about(&location)).await? {
        Conditional::Is(meta) => Ok((meta.etag.as_str().to_owned(), meta.complete_length)),
        Conditional::NotModified => panic!("a 304 to no condition"),
    }
}

#[tokio::test]
async fn a_user_who_may_only_read_ranges_is_enough_for_values_of_a_window() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    redis.user("plain", &["+getrange", "+exists"]).await;
    let section = format!(
        "{}username = 'plain'\npassword = '{PASSWORD}'\n",
        redis.section()
    );
    let gateway = over(&section).await;
    points::conditions(&redis, &gateway).await;
    points::missing(&redis, &gateway).await;
    for size in [0, 1000, WINDOW as u64] {
        redis.put("a.mp4", CONTENT.bytes(size)).await;
        let path = uri::project("1", &redis.uri("a.mp4"));
        crate::ranges::every_form_holds_at(&gateway, &path, size).await;
    }
    assert_eq!(redis.calls("eval").await, 0);
    let backend = backend(&redis, "plain");
    redis.put("long", vec![7; WINDOW + 1]).await;
    let long = head(&backend, "long").await.expect_err("it is refused");
    assert!(long.to_string().contains("takes EVAL and GET"), "{long}");
    let listed = backend.list("", "", None, 10).await;
    assert!(
        matches!(listed, Err(BackendError::AccessDenied(_))),
        "{listed:?}"
    );
}

#[tokio::test]
async fn a_long_value_takes_a_script_and_has_the_same_kind_of_tag() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    redis
        .user("reader", &["+getrange", "+exists", "+eval", "+get"])
        .await;
    let backend = backend(&redis, "reader");
    redis.put("long", vec![7; WINDOW + 1]).await;
    let (tag, length) = head(&backend, "long").await.expect("it reads");
    assert_eq!(length, WINDOW as u64 + 1);
    let hash: String = redis
        .command(
            "EVAL",
            &[
                b"return redis.sha1hex(redis.call('GET', KEYS[1]))",
                b"1",
                b"long",
            ],
        )
        .await;
    assert_eq!(tag, format!("\"{length:x}-{hash}\""));
    // As an operator would find out: the right to run scripts and not the command within.
    redis
        .user("reader", &["+getrange", "+exists", "+eval"])
        .await;
    let backend = self::backend(&redis, "reader");
    let error = head(&backend, "long").await.expect_err("it is refused");
    assert!(error.to_string().contains("takes EVAL and GET"), "{error}");
}

#[tokio::test]
async fn what_redis_says_is_told_apart_and_shows_no_secret() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    redis.command::<()>("RPUSH", &[b"list", b"a"]).await;
    redis.user("nothing", &[]).await;
    redis.user("reader", &["+getrange", "+exists"]).await;
    let wrong = Backing::new(
        RedisConfig {
            username: Some("reader".into()),
            password: Some(Secret::new("a wrong one")),
            ..config(&redis)
        },
        PATIENCE,
    )
    .expect("a backend");
    let denied = |error: &BackendError| matches!(error, BackendError::AccessDenied(_));
    let error = head(&backend(&redis, "nothing"), "a")
        .await
        .expect_err("no permission");
    assert!(denied(&error), "{error}");
    let error = head(&wrong, "a").await.expect_err("a wrong password");
    assert!(
        denied(&error) && !error.to_string().contains("a wrong one"),
        "{error}"
    );
    let error = head(&backend(&redis, "reader"), "list")
        .await
        .expect_err("no string");
    assert!(matches!(error, BackendError::Protocol(_)), "{error}");
    assert!(error.to_string().contains("another type"), "{error}");
    redis
        .command::<()>("CONFIG", &[b"SET", b"requirepass", b"x"])
        .await;
    let anonymous = Backing::new(config(&redis), PATIENCE).expect("a backend");
    let error = head(&anonymous, "a").await.expect_err("no password");
    assert!(
        denied(&error) && error.to_string().contains("NOAUTH"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let gateway = over(&redis.section()).await;
    redis.put("a.png", vec![1; 10]).await;
    let path = uri::project("1", &redis.uri("a.png"));
    assert_eq!(gateway.get(&path).answer().await.status, 200);
    redis.stop();
    let other = uri::project("1", &redis.uri("b.png"));
    assert_eq!(gateway.get(&other).answer().await.status, 503);
    assert_eq!(gateway.get(&path).answer().await.status, 200, "cached");
    redis.restart().await;
    redis.put("a.png", vec![2; 10]).await;
    eventually("the server is found again", async || {
        let answer = gateway.get(&path).answer().await;
        (answer.status == 200 && answer.body == vec![2; 10]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn values_come_over_tls_from_a_server_whose_ca_is_trusted() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    redis.put("a.png", vec![1; 10]).await;
    redis
        .put("long.mp4", CONTENT.bytes(WINDOW as u64 + 9))
        .await;
    let gateway = over(&redis.tls_section()).await;
    let answer = gateway
        .get(uri::project("1", "redis:///a.png"))
        .answer()
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "image/png")
    );
    let long = gateway
        .get(uri::project("1", "redis:///long.mp4"))
        .send()
        .await;
    let read = long.compare(CONTENT, 0).await;
    assert_eq!(read, (WINDOW as u64 + 9, true));
    let untrusted = redis
        .tls_section()
        .lines()
        .take(2)
        .collect::<Vec<_>>()
        .join("\n");
    let gateway = over(&untrusted).await;
    let answer = gateway
        .get(uri::project("1", "redis:///a.png"))
        .answer()
        .await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn another_database_holds_other_values() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    redis.put("a.txt", b"zero".to_vec()).await;
    let script = b"redis.call('SELECT', 3) redis.call('SET', KEYS[1], 'three')";
    redis.command::<()>("EVAL", &[script, b"1", b"a.txt"]).await;
    let gateway = over(&format!("{}db = 3\n", redis.section())).await;
    let port = redis.port();
    for (named, status) in [
        (format!("redis://127.0.0.1:{port}/3/a.txt"), 200),
        (format!("redis://127.0.0.1:{port}/a.txt"), 200),
        ("redis:///3/a.txt".into(), 200),
        (format!("redis://127.0.0.1:{port}/0/a.txt"), 403),
        ("redis://elsewhere/3/a.txt".into(), 403),
        (format!("redis://user@127.0.0.1:{port}/3/a.txt"), 403),
    ] {
        let answer = gateway.get(uri::project("1", &named)).answer().await;
        assert_eq!(answer.status, status, "{named}");
        assert!(
            status != 200 || answer.text() == "three",
            "{named}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_listing_holds_strings_alone_and_takes_its_prefix_literally() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let backend = Backing::new(config(&redis), PATIENCE).expect("a backend");
    for key in ["a*/1", "a*/2", "ab/3", "[x]/4"] {
        redis.put(key, vec![0; 7]).await;
    }
    redis.command::<()>("RPUSH", &[b"a*/list", b"a"]).await;
    redis.command::<()>("SET", &[b"a*/\xff", b"not text"]).await;
    for (prefix, expected) in [
        ("", &["[x]/4", "a*/1", "a*/2", "ab/3"][..]),
        ("a*/", &["a*/1", "a*/2"]),
        ("[x]", &["[x]/4"]),
        ("z", &[]),
    ] {
        for limit in [1, 2, 100] {
            let keys = listed(&backend, "0", prefix, limit).await;
            assert_eq!(keys, expected, "{prefix}, {limit} a page");
        }
    }
}
