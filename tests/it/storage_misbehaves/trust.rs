//! Names, certificates, credentials and clocks: whether storage is storage, and whether Lockgate is Lockgate to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::{WINDOW, assert_served, path, read, started};
use crate::support::gateway::{Gateway, Setup};
use crate::support::stub::Stub;
use crate::support::wild_store::WildStore;

#[tokio::test]
async fn a_name_that_does_not_resolve_is_503() {
    let store = WildStore::start().await;
    // RFC 6761 §6.4: no resolver knows names below it.
    let nowhere = store.section().replace("127.0.0.1", "storage.invalid");
    let gateway = Setup::over(&nowhere).start().await;
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("invalid"), "{}", answer.text());
}

/// A server's side of TLS for `name`, until the year `ends`; and the authority to trust, PEM.
fn certificate(name: &str, ends: i32) -> (TlsAcceptor, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let pem = authority
        .self_signed(&authority_key)
        .expect("an authority")
        .pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::new([name.to_owned()]).expect("a name");
    leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(ends, 1, 1);
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate and its key");
    (TlsAcceptor::from(Arc::new(config)), pem)
}

async fn over_tls(name: &str, ends: i32) -> (WildStore, Gateway) {
    let (tls, pem) = certificate(name, ends);
    let store = WildStore::over_tls(tls).await;
    let section = format!("{}ca_file = 'ca.pem'\n", store.section());
    let setup = Setup::over(&section).file("ca.pem", pem);
    (store, setup.start().await)
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_503_and_no_request_is_made() {
    let (store, gateway) = over_tls("localhost", 2021).await;
    let content = store.put("a.mp4", 1000);
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 503);
    assert_eq!(store.count(), 0);
    // The same with one that is good: it is the certificate alone.
    let (store, gateway) = over_tls("localhost", 2100).await;
    let content = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 1000).await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_503_and_no_request_is_made() {
    let (store, gateway) = over_tls("storage.example.com", 2100).await;
    let content = store.put("a.mp4", 1000);
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 503);
    assert_eq!(store.count(), 0);
}

/// What STS answers with: the n-th session, for an hour.
fn session(number: usize) -> (u16, String) {
    let document = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>any</SecretAccessKey>\
         <SessionToken>session-{number}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         <AssumedRoleUser><Arn>arn:aws:iam::123456789012:role/Reader</Arn><AssumedRoleId>AROA:lockgate</AssumedRoleId>\
         </AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"
    );
    (200, document)
}

/// An STS that gives session after session, until it is told to stop: then it is out of order.
async fn sts() -> (Stub, Arc<AtomicUsize>) {
    sts_that_ends_with(503, "").await
}

/// The same with another answer at the end.
async fn sts_that_ends_with(status: u16, last: &'static str) -> (Stub, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let (leaves, given) = (left.clone(), AtomicUsize::new(0));
    let sts = Stub::start(move |_| {
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        match number <= leaves.load(Ordering::SeqCst) {
            true => session(number),
            false => (status, last.to_owned()),
        }
    });
    (sts.await, left)
}

fn with_role(store: &WildStore, sts: &Stub) -> String {
    format!(
        "{}access_key_id = 'AKIABASE'\nsecret_access_key = 'base'\nsts_endpoint = '{}'\n\
         role_arn = 'arn:aws:iam::123456789012:role/Reader'\n",
        store.place(),
        sts.endpoint
    )
}

#[tokio::test]
async fn credentials_that_end_mid_stream_are_renewed_unseen() {
    let store = WildStore::start().await;
    let (sts, _) = sts().await;
    let gateway = Setup::over(&with_role(&store, &sts)).start().await;
    let content = store.put("a.mp4", 3 * WINDOW);
    // The first session ends with the first window.
    store.always(|answer| {
        let ended = answer.asked.field("x-amz-security-token") == "session-1";
        if ended && !answer.asked.field("range").starts_with("bytes=0-") {
            answer.refuse(400, "ExpiredToken");
        }
    });
    assert_served(&gateway, "a.mp4", content, 3 * WINDOW).await;
    assert_eq!(sts.count(), 2);
}

#[tokio::test]
async fn cached_media_is_served_while_the_token_service_is_down() {
    let store = WildStore::start().await;
    let (sts, sessions) = sts().await;
    let setup = Setup::over(&with_role(&store, &sts)).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    let content = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 1000).await;
    sessions.store(0, Ordering::SeqCst);
    store.always(|answer| answer.refuse(400, "ExpiredToken"));
    assert_served(&gateway, "a.mp4", content, 1000).await;
    store.put("b.mp4", 1000);
    let answer = gateway.get(path("b.mp4")).answer().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
}

#[tokio::test]
async fn cached_media_is_not_served_once_the_role_is_taken_away() {
    const DENIED: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                          <Message>not authorized</Message></Error></ErrorResponse>";
    let store = WildStore::start().await;
    let (sts, sessions) = sts_that_ends_with(403, DENIED).await;
    let setup = Setup::over(&with_role(&store, &sts)).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    let content = store.put("a.mp4", 1000);
    assert_served(&gateway, "a.mp4", content, 1000).await;
    sessions.store(0, Ordering::SeqCst);
    store.always(|answer| answer.refuse(400, "ExpiredToken"));
    let answer = gateway.get(path("a.mp4")).answer().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!answer.text().contains("AccessDenied"), "{}", answer.text());
}

#[tokio::test]
async fn a_clock_an_hour_off_is_502_and_asked_about_once() {
    let (store, gateway) = started().await;
    let content = store.put("a.mp4", 1000);
    store.always(|answer| answer.refuse(403, "RequestTimeTooSkewed"));
    assert_eq!(read(&gateway, "a.mp4", content).await.0, 502);
    assert_eq!(store.count(), 1);
    // A date of storage's that is an hour off is of no concern.
    store.always(|answer| answer.set("Date", "Tue, 03 Nov 2026 10:00:00 GMT"));
    assert_served(&gateway, "a.mp4", content, 1000).await;
}
