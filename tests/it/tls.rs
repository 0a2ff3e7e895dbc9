//! TLS: the media, over HTTP/1.1 and HTTP/2, the session's cookie with its prefix, and certificates that are renewed.

mod trust;

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::content::Pattern;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{eventually, token, uri};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

/// A certificate for `localhost` and its key, PEM.
fn leaf(ca: &Ca) -> (String, String) {
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, ca).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

async fn started(ca: &Ca) -> (Store, Gateway) {
    started_with(ca, |setup| setup).await
}

async fn started_with(ca: &Ca, change: impl FnOnce(Setup) -> Setup) -> (Store, Gateway) {
    let store = Store::start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(1000), Some("video/mp4"));
    let (certificate, key) = leaf(ca);
    let setup = Setup::over(&store.section("media"))
        .set("server.tls.certificate", "tls.crt")
        .set("server.tls.private_key", "tls.key")
        .file("tls.crt", certificate)
        .file("tls.key", key);
    (store, change(setup).start().await)
}

/// A connection that trusts this CA alone; an error where the server's certificate is not its.
async fn connect(
    gateway: &Gateway,
    ca: &Ca,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(gateway.address()).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn request(method: &str, gateway: &Gateway, path: &str) -> http::Request<Empty<bytes::Bytes>> {
    let host = format!("localhost:{}", gateway.address().port());
    http::Request::builder()
        .method(method)
        .uri(format!("https://{host}{path}"))
        .header("host", host)
        .header("authorization", format!("Bearer {}", token::of("anna")))
        .body(Empty::new())
        .expect("a request")
}

#[tokio::test]
async fn media_is_served_over_tls_by_http1_and_http2() {
    let ca = ca();
    let (_store, gateway) = started(&ca).await;
    let path = uri::project("1", "s3://media/a.mp4");

    let stream = connect(&gateway, &ca, b"h2").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut h2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let answer = h2
        .send_request(request("GET", &gateway, &path))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("the body is whole")
        .to_bytes();
    assert!(body.len() == 1000 && Pattern(1).holds(0, &body));

    let stream = connect(&gateway, &ca, b"http/1.1")
        .await
        .expect("a handshake");
    let (mut h1, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1.1");
    tokio::spawn(connection);
    let answer = h1
        .send_request(request("GET", &gateway, &path))
        .await
        .expect("an answer");
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("the body is whole")
        .to_bytes();
    assert!(body.len() == 1000 && Pattern(1).holds(0, &body));
}

#[tokio::test]
async fn the_sessions_cookie_has_its_prefix_and_secure_over_tls() {
    let ca = ca();
    let (_store, gateway) = started(&ca).await;
    let stream = connect(&gateway, &ca, b"http/1.1")
        .await
        .expect("a handshake");
    let (mut h1, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1.1");
    tokio::spawn(connection);
    let answer = h1
        .send_request(request("POST", &gateway, "/session"))
        .await
        .expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("ASCII");
    assert!(cookie.starts_with("__Host-lockgate="), "{cookie}");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(
            cookie.split("; ").any(|own| own == attribute),
            "{attribute} in {cookie}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_taken_and_a_broken_one_is_not() {
    let (old, new) = (ca(), ca());
    let (_store, gateway) = started(&old).await;
    assert!(connect(&gateway, &new, b"h2").await.is_err());
    replace(
        gateway.directory(),
        ("broken".to_owned(), "broken".to_owned()),
    );
    eventually("the metric says so", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("lockgate_config_last_reload_successful 0")
            .then_some(())
    })
    .await;
    assert!(
        connect(&gateway, &old, b"h2").await.is_ok(),
        "the old one stays"
    );
    replace(gateway.directory(), leaf(&new));
    eventually("the new certificate is shown", async || {
        connect(&gateway, &new, b"h2").await.ok()
    })
    .await;
}

/// Writes the configuration anew, with one text in place of another.
fn reconfigure(gateway: &Gateway, change: impl Fn(String) -> String) {
    let file = gateway.directory().join("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(file, change(config)).expect("it is written");
}

#[tokio::test]
async fn a_reload_that_names_tls_leaves_plain_http_as_it_is() {
    let (_store, gateway) = crate::support::gateway_over_store().await;
    replace(gateway.directory(), leaf(&ca()));
    reconfigure(&gateway, |config| {
        format!("{config}\n[server.tls]\ncertificate = 'tls.crt'\nprivate_key = 'tls.key'\n")
    });
    assert!(gateway.reload().await);
    let client = gateway.client();
    let asked = client.ask(http::Method::POST, "/session").by("anna");
    let answer = asked.answer().await;
    assert_eq!(answer.header("strict-transport-security"), "");
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with("lockgate=") && !cookie.contains("Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn a_certificate_that_moves_is_taken_from_its_new_place() {
    let (old, new) = (ca(), ca());
    let (_store, gateway) = started(&old).await;
    let (certificate, key) = leaf(&new);
    std::fs::write(gateway.directory().join("moved.crt"), certificate).expect("it is written");
    std::fs::write(gateway.directory().join("moved.key"), key).expect("it is written");
    reconfigure(&gateway, |config| config.replace("\"tls.", "\"moved."));
    for file in ["tls.crt", "tls.key"] {
        std::fs::remove_file(gateway.directory().join(file)).expect("it is removed");
    }
    assert!(gateway.reload().await);
    assert!(connect(&gateway, &new, b"h2").await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_comes_after_the_configuration_is_taken_by_itself() {
    let (old, new) = (ca(), ca());
    let (_store, gateway) = started(&old).await;
    reconfigure(&gateway, |config| config.replace("\"tls.", "\"later."));
    eventually("the metric says so", async || {
        let metrics = gateway.metrics().await;
        metrics
            .contains("lockgate_config_last_reload_successful 0")
            .then_some(())
    })
    .await;
    let (certificate, key) = leaf(&new);
    std::fs::write(gateway.directory().join("later.crt"), certificate).expect("it is written");
    std::fs::write(gateway.directory().join("later.key"), key).expect("it is written");
    eventually("the new certificate is shown", async || {
        connect(&gateway, &new, b"h2").await.ok()
    })
    .await;
}

fn replace(directory: &Path, (certificate, key): (String, String)) {
    std::fs::write(directory.join("tls.crt"), certificate).expect("it is written");
    std::fs::write(directory.join("tls.key"), key).expect("it is written");
}
