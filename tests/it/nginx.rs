//! nginx in front: with `deploy/nginx/lockgate.conf` the media routes go to Lockgate as they were asked, and all else to
//! the application.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::support::content::Pattern;
use crate::support::gateway_over_store;
use crate::support::nginx::Nginx;
use crate::support::raw::Raw;
use crate::support::stub::Stub;
use crate::support::{eventually, token, uri};

const MIB: u64 = 1 << 20;
const CONTENT: Pattern = Pattern(3);

/// Without anna.
const REVOKED: &str =
    "[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['bo']\nmedia = 'storage'\n";

fn address(stub: &Stub) -> SocketAddr {
    let address = stub.endpoint.trim_start_matches("http://");
    address.parse().expect("an address")
}

/// A server that says its name, and writes down what it was asked: the target and some fields.
async fn named(name: &'static str) -> (Stub, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let writes = asked.clone();
    let stub = Stub::start(move |request| {
        let mut line = request.uri().to_string();
        for field in [
            "connection",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "range",
            "if-range",
            "cookie",
            "authorization",
        ] {
            let value = request
                .headers()
                .get(field)
                .map(|v| v.to_str().unwrap_or("?"));
            line += &format!(" {}", value.unwrap_or("-"));
        }
        line += &format!(" {:?}", request.version());
        writes.lock().expect("no panic").push(line);
        (200, name.to_owned())
    })
    .await;
    (stub, asked)
}

#[tokio::test]
async fn media_routes_go_to_lockgate_byte_for_byte_and_all_else_to_the_application() {
    let ((lockgate, at_lockgate), (application, _)) =
        (named("lockgate").await, named("application").await);
    let Some(nginx) = Nginx::start(address(&lockgate), address(&application)).await else {
        return;
    };
    let uri = "s3%3A%2F%2Fmedia%2Fa%252Fb//c+d%20%C3%A9?e&x=%zz&y=//../";
    for path in [
        "/tasks/1/resolve/?fileuri=czM6Ly9tZWRpYS9hLnBuZw==&lsref=1",
        "/tasks/1/presign?fileuri=czM6Ly9tZWRpYS9hLnBuZw%3D%3D",
        &format!("/projects/7/resolve/?fileuri={uri}"),
        "/projects/7/presign/?fileuri=x%2Fy%00",
        "/data/local-files/?d=a/b%20c+d.wav",
        "/data/local-files?d=x",
        // Other spellings are not other routes.
        "/t%61sks%2F1/resolve/?fileuri=x",
        "//tasks//1/resolve?fileuri=x",
        "/api/../tasks/1/resolve/?fileuri=x",
        &format!("/tasks/1/resolve/?fileuri={}", "A".repeat(8 << 10)),
    ] {
        // An `Ask` would normalise it.
        let answer = answer(&nginx, &format!("GET {path} HTTP/1.1"), "").await;
        assert!(answer.ends_with("lockgate"), "{path}: {answer}");
        let last = at_lockgate
            .lock()
            .expect("no panic")
            .pop()
            .expect("it was asked");
        assert!(last.starts_with(&format!("{path} ")), "{last}");
    }
    for path in [
        "/",
        "/tasks/1/",
        "/tasks/1/resolve/x",
        "/tasks/1/2/resolve/",
        "/api/tasks/1/resolve/",
        "/data/upload/1/a.png",
        "/data/local-files/a",
        "/projects/1/data?tab=2&task=1",
        "/sw.js",
    ] {
        let answer = answer(&nginx, &format!("GET {path} HTTP/1.1"), "").await;
        assert!(answer.ends_with("application"), "{path}: {answer}");
    }
    assert_eq!(lockgate.count(), 10);
}

/// A whole answer, read raw.
async fn answer(nginx: &Nginx, line: &str, fields: &str) -> String {
    let request =
        format!("{line}\r\nHost: studio.example.com:8443\r\n{fields}Connection: close\r\n\r\n");
    let answer = Raw::send(nginx.address, request).await.read_to_end().await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn lockgate_is_told_the_host_the_client_and_what_it_sent() {
    let ((lockgate, at_lockgate), (application, _)) =
        (named("lockgate").await, named("application").await);
    let Some(nginx) = Nginx::start(address(&lockgate), address(&application)).await else {
        return;
    };
    let fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nRange: bytes=0-\r\n\
         If-Range: \"a\"\r\nCookie: sessionid=b\r\nAuthorization: Token c\r\n";
    answer(&nginx, "GET /tasks/1/resolve/?fileuri=x HTTP/1.1", fields).await;
    let asked = at_lockgate.lock().expect("no panic").pop();
    assert_eq!(
        asked.as_deref(),
        Some(
            "/tasks/1/resolve/?fileuri=x - studio.example.com:8443 192.0.2.7, 127.0.0.1 \
             studio.example.com:8443 http bytes=0- \"a\" sessionid=b Token c \
             HTTP/1.1"
        )
    );
}

#[tokio::test]
async fn the_configuration_passes_nginx_own_test_without_a_warning() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let Some(nginx) = Nginx::start(nowhere, nowhere).await else {
        return;
    };
    let tested = nginx.tested();
    let said = String::from_utf8_lossy(&tested.stderr);
    assert!(tested.status.success(), "{said}");
    assert!(!said.contains("[warn]"), "{said}");
}

#[tokio::test]
async fn media_comes_through_nginx_as_it_comes_from_lockgate() {
    let (store, gateway) = gateway_over_store().await;
    let (application, _) = named("application").await;
    let Some(nginx) = Nginx::start(gateway.address(), address(&application)).await else {
        return;
    };
    let key = "a%2Fb//c+d é.mp4";
    store.generate("media", key, CONTENT, 20 * MIB);
    store.put("media", "a.txt", vec![b'a'; 10_000], Some("text/plain"));
    let video = uri::project("1", &format!("s3://media/{key}"));
    let text = uri::project("1", "s3://media/a.txt");
    let missing = uri::project("1", "s3://media/missing");
    let etag = gateway
        .head(&video)
        .answer()
        .await
        .header("etag")
        .to_owned();
    let stranger = token::of("eve");
    let anna = token::of("anna");
    for (path, token, fields) in [
        (&video, &anna, vec![("range", "bytes=5-9")]),
        (&video, &anna, vec![("range", "bytes=-7")]),
        (
            &video,
            &anna,
            vec![("range", "bytes=8388600-8388620"), ("if-range", &*etag)],
        ),
        (&video, &anna, vec![("range", "bytes=99999999-")]),
        (&video, &anna, vec![("if-none-match", &*etag)]),
        (&video, &anna, vec![("if-match", "\"other\"")]),
        (&text, &anna, vec![("accept-encoding", "gzip")]),
        (&text, &stranger, vec![]),
        (&missing, &anna, vec![]),
    ] {
        let [through, direct] = [&nginx.client, gateway.client()].map(|client| {
            let ask = client.get(path).bearer(token);
            fields
                .iter()
                .fold(ask, |ask, (name, value)| ask.header(name, value))
        });
        let (through, direct) = (through.answer().await, direct.answer().await);
        assert_eq!(through.status, direct.status, "{fields:?}");
        for name in [
            "etag",
            "last-modified",
            "content-type",
            "content-length",
            "content-range",
            "content-encoding",
            "accept-ranges",
            "cache-control",
            "vary",
        ] {
            assert_eq!(
                through.header(name),
                direct.header(name),
                "{name}: {fields:?}"
            );
        }
        if direct.header("content-type") != "application/problem+json" {
            assert_eq!(through.body, direct.body, "{fields:?}");
        }
    }
    let whole = nginx.client.get(&video).by("anna").send().await;
    assert_eq!(whole.header("content-length"), (20 * MIB).to_string());
    assert_eq!(whole.compare(CONTENT, 0).await, (20 * MIB, true));
    assert_eq!(
        nginx.client.head(&video).by("anna").answer().await.status,
        200
    );
    assert_eq!(application.count(), 0);
}

#[tokio::test]
async fn a_body_that_lockgate_cuts_is_cut_for_the_client() {
    let (store, gateway) = gateway_over_store().await;
    let (application, _) = named("application").await;
    let Some(nginx) = Nginx::start(gateway.address(), address(&application)).await else {
        return;
    };
    store.generate("media", "a.mp4", CONTENT, 100 * MIB);
    store.hold_bodies_after(4 * MIB);
    let path = uri::project("1", "s3://media/a.mp4");
    let mut reply = nginx.client.get(&path).by("anna").send().await;
    let piece = reply
        .next()
        .await
        .expect("a piece")
        .expect("the body holds");
    gateway.replace_projects(REVOKED);
    eventually("the revocation is in force", async || {
        (gateway.head(&path).answer().await.status == 403).then_some(())
    })
    .await;
    store.release();
    let read = piece.len() as u64;
    let (more, whole) = reply.compare(CONTENT, read).await;
    assert!(!whole, "the body went on to its end");
    assert!(read + more <= 8 * MIB, "{} bytes", read + more);
}
