//! Addresses in a media URI: none that a client chose is ever asked, however it is spelled, and a configured one is
//! asked only while it is who it was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::support::gateway::Setup;
use crate::support::store::Store;
use crate::support::{gateway_over_store, uri};

/// Loopback, this host, link-local, private and metadata addresses in every spelling that some resolver takes.
const HOSTS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "00000177.00.00.01",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localtest.me",
    "127.0.0.1.nip.io",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[::1%25lo]",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127%2e0%2e0%2e1",
    "169.254.169.254",
    "169.254.43518",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "169.254.169.254.nip.io",
    "169.254.170.2",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "metadata.google.internal",
    "metadata",
    "instance-data",
    "100.100.100.200",
    "10.0.0.1",
    "192.168.0.1",
    "172.16.0.1",
    "[fc00::1]",
    "media@127.0.0.1",
    "media:x@127.0.0.1",
    "s3.amazonaws.com@127.0.0.1",
    "127.0.0.1#.s3.amazonaws.com",
    "127.0.0.1?.s3.amazonaws.com",
    "127.0.0.1\\.s3.amazonaws.com",
    "127.0.0.1 .s3.amazonaws.com",
    "127.0.0.1\r\n.s3.amazonaws.com",
    "s3.amazonaws.com.127.0.0.1.nip.io",
];

#[tokio::test]
async fn no_spelling_of_an_inner_address_in_a_uri_is_ever_asked() {
    let trap = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = trap.local_addr().expect("it is bound").port();
    let (store, gateway) = gateway_over_store().await;
    store.put("media", "a.mp4", b"the media".to_vec(), None);
    for host in HOSTS {
        for scheme in ["http", "https"] {
            for authority in [(*host).to_owned(), format!("{host}:{port}")] {
                let media = format!("{scheme}://{authority}/media/a.mp4");
                let answer = gateway.get(uri::project("1", &media)).answer().await;
                assert!(
                    matches!(answer.status, 400 | 403),
                    "{media}: {}",
                    answer.status
                );
            }
        }
    }
    // A provider's own name, around a region that would lead elsewhere: it is the storage's place that is asked.
    for media in [
        format!("https://media.s3.127.0.0.1:{port}/a.mp4"),
        format!("https://media.s3.localhost:{port}#.amazonaws.com/a.mp4"),
        format!("https://s3.x@127.0.0.1:{port}.amazonaws.com/media/a.mp4"),
    ] {
        let answer = gateway.get(uri::project("1", &media)).answer().await;
        assert!(
            matches!(answer.status, 400 | 403),
            "{media}: {}",
            answer.status
        );
    }
    let called = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(
        called.is_err(),
        "an address of a client's choice was called"
    );
    assert_eq!(store.requests().len(), 0);
    let metrics = gateway.metrics().await;
    assert!(
        !metrics.contains("lockgate_storage_requests_total{"),
        "{metrics}"
    );
    let own = gateway
        .get(uri::project("1", "s3://media/a.mp4"))
        .answer()
        .await;
    assert_eq!(
        own.text(),
        "the media",
        "the operator's own endpoint on loopback is fine"
    );
}

/// An authority, and a server's certificate for `localhost` from it.
fn certified() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = params.signed_by(&key, &ca).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate");
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// Where a name leads: to whom, and the certificate that is shown there.
struct Place {
    tls: TlsAcceptor,
    to: SocketAddr,
    /// Handshakes that a client went through with.
    entered: Arc<AtomicUsize>,
}

/// A name's other end: each connection is led to the place of the moment, and no connection outlives its request.
async fn name(place: Arc<ArcSwap<Place>>) -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let serving = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        let mut led_to = place.load_full();
        while let Ok((stream, _)) = listener.accept().await {
            let place = place.load_full();
            if !Arc::ptr_eq(&place, &led_to) {
                // As where the machine behind the name is another one: nothing goes on from before.
                connections.abort_all();
                led_to = place.clone();
            }
            connections.spawn(async move {
                let Ok(mut client) = place.tls.accept(stream).await else {
                    return;
                };
                place.entered.fetch_add(1, Ordering::SeqCst);
                let mut server = TcpStream::connect(place.to).await.expect("it listens");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn a_configured_host_that_leads_elsewhere_the_second_time_is_not_believed() {
    let (own, impostor) = (Store::start().await, Store::start().await);
    for key in ["a.mp4", "b.mp4"] {
        own.put("media", key, b"the media".to_vec(), None);
        impostor.put("media", key, b"forged !!".to_vec(), None);
    }
    let address = |store: &Store| {
        let port = store.endpoint().port().expect("a port of its own");
        SocketAddr::from(([127, 0, 0, 1], port))
    };
    let (ca, tls) = certified();
    let place = |tls, store: &Store| {
        Arc::new(Place {
            tls,
            to: address(store),
            entered: Arc::default(),
        })
    };
    let led_to = Arc::new(ArcSwap::new(place(tls.clone(), &own)));
    let (port, _serving) = name(led_to.clone()).await;
    let section = own.section("media");
    let section = section.replace(
        &own.endpoint().to_string(),
        &format!("https://localhost:{port}"),
    );
    let setup = Setup::over(&format!("{section}ca_file = 'ca.pem'\n"))
        .file("ca.pem", ca)
        .set("cache.metadata_max_age", "0s")
        .set("delivery.stall_timeout", "2s");
    let gateway = setup.start().await;
    let path = |key: &str| uri::project("1", &format!("s3://media/{key}"));
    assert_eq!(
        gateway.get(path("a.mp4")).answer().await.text(),
        "the media"
    );
    let (_, strangers) = certified();
    let elsewhere = place(strangers, &impostor);
    led_to.store(elsewhere.clone());
    // Whatever connection is kept is ended at the next one that comes in.
    drop(TcpStream::connect(("127.0.0.1", port)).await);
    let unknown = gateway.get(path("b.mp4")).answer().await;
    assert!(matches!(unknown.status, 502..=504), "{}", unknown.status);
    // What is cached goes on being served while storage is away, and is what it was.
    let cached = gateway.get(path("a.mp4")).answer().await;
    assert!(cached.status >= 500 || cached.text() == "the media");
    assert!(!cached.text().contains("forged"));
    assert_eq!(
        elsewhere.entered.load(Ordering::SeqCst),
        0,
        "nothing was said to it"
    );
    assert_eq!(impostor.requests().len(), 0);
    led_to.store(place(tls, &own));
    crate::support::eventually("it is believed again where it is who it was", async || {
        let answer = gateway.get(path("b.mp4")).answer().await;
        (answer.status == 200 && answer.text() == "the media").then_some(())
    })
    .await;
}
