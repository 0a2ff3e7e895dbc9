//! A proxy and a private authority, with a storage behind both.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::backend::BackendError;
use crate::backend::http::HttpClient;
use crate::backend::stub::{self, Stub, answer};

/// How storage shakes hands for `name`, and the file that makes it trusted.
fn authority(name: &str) -> (TlsAcceptor, TempDir, PathBuf) {
    let (acceptor, pem) = stub::authority(name);
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    (acceptor, directory, ca_file)
}

/// A proxy that joins every CONNECT to one port of this machine, or refuses it; the heads it was sent.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Proxy {
    async fn start(to: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (kept, mut serving) = (heads.clone(), JoinSet::new());
        serving.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tunnels.spawn(join(stream, to, kept.clone()));
            }
        });
        Self {
            port,
            heads,
            _serving: serving,
        }
    }
}

async fn join(stream: TcpStream, to: Option<u16>, heads: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    heads.lock().unwrap().push(head);
    let Some(port) = to else {
        let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refused).await.unwrap();
        return;
    };
    let mut storage = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut storage).await;
}

async fn ask(client: &HttpClient, url: &str) -> Result<u16, BackendError> {
    let request = Request::get(url).body(Empty::new()).unwrap();
    client
        .send(request)
        .await
        .map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn https_storage_is_reached_through_the_proxy_and_trusted_by_its_own_authority() {
    let (tls, _directory, ca_file) = authority("bucket.storage.test");
    let storage = Stub::start(Some(tls), |_| answer(204, &[], "")).await;
    let proxy = Proxy::start(Some(storage.port)).await;
    let proxies = || {
        let proxy = format!("http://user:word@127.0.0.1:{}", proxy.port);
        Matcher::builder().https(proxy).no("direct.test").build()
    };
    let patience = Duration::from_secs(10);
    let client =
        HttpClient::through(proxies(), Resolver::of_system(), Some(&ca_file), patience).unwrap();
    // No name server knows the host: only the proxy can have found it.
    assert_eq!(
        ask(&client, "https://bucket.storage.test/key")
            .await
            .unwrap(),
        204
    );
    let head = proxy.heads.lock().unwrap().concat().to_lowercase();
    assert!(
        head.starts_with("connect bucket.storage.test:443 "),
        "{head}"
    );
    assert!(
        head.contains("proxy-authorization: basic dxnlcjp3b3jk"),
        "{head}"
    );

    let stranger = HttpClient::through(proxies(), Resolver::of_system(), None, patience).unwrap();
    let error = ask(&stranger, "https://bucket.storage.test/key")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");

    let asked = proxy.heads.lock().unwrap().len();
    assert!(ask(&client, "https://direct.test/key").await.is_err());
    let local = format!("https://127.0.0.1:{}/", storage.port);
    let error = ask(&client, &local).await;
    assert!(error.is_err(), "the certificate is for another name");
    assert_eq!(
        proxy.heads.lock().unwrap().len(),
        asked + 1,
        "NO_PROXY names the first alone"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let proxy = Proxy::start(None).await;
    let named = format!("127.0.0.1:{}", proxy.port);
    for scheme in ["http", "socks5"] {
        let proxies = Matcher::builder()
            .all(format!("{scheme}://user:word@{named}"))
            .build();
        let client = HttpClient::through(
            proxies,
            Resolver::of_system(),
            None,
            Duration::from_secs(10),
        )
        .unwrap();
        let error = ask(&client, "https://storage.test/").await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BackendError::Unavailable(_)), "{text}");
        assert!(text.contains(&format!("proxy {named}")), "{text}");
        assert!(!text.contains("word"), "{text}");
    }
}

#[tokio::test]
async fn plain_http_storage_goes_through_no_proxy() {
    let storage = Stub::start(None, |_| answer(204, &[], "")).await;
    let proxy = Proxy::start(Some(storage.port)).await;
    let proxies = Matcher::builder()
        .all(format!("http://127.0.0.1:{}", proxy.port))
        .build();
    let client = HttpClient::through(
        proxies,
        Resolver::of_system(),
        None,
        Duration::from_secs(10),
    )
    .unwrap();
    let url = format!("http://127.0.0.1:{}/", storage.port);
    assert_eq!(ask(&client, &url).await.unwrap(), 204);
    assert!(proxy.heads.lock().unwrap().is_empty());
}
