//! Which TLS is spoken, and with whom: no version before 1.2, clients' certificates where they are asked for, and
//! browsers that are told to stay with it.

use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};

use super::*;
use crate::support::raw::Raw;

/// A client of one version, that shows a certificate from `own` where there is one.
fn connector(
    ca: &Ca,
    versions: &[&'static SupportedProtocolVersion],
    own: Option<&Ca>,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let mut params = CertificateParams::new(vec!["proxy".to_owned()]).expect("a name");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, own).expect("a certificate");
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let certified = builder.with_client_auth_cert(vec![certificate.der().clone()], key);
            certified.expect("it fits")
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// The media's answer over this connector; an error where the connection is refused, at whatever step.
async fn ask(
    gateway: &Gateway,
    connector: TlsConnector,
) -> Result<http::Response<hyper::body::Incoming>, String> {
    let stream = TcpStream::connect(gateway.address()).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = connector.connect(name, stream.expect("it listens")).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut h1, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let path = uri::project("1", "s3://media/a.mp4");
    let answer = h1.send_request(request("GET", gateway, &path)).await;
    answer.map_err(|error| error.to_string())
}

/// A ClientHello of one version as its own RFC has it (RFC 2246, RFC 4346 §7.4.1.2), with suites that a server takes.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    let suites = [0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x2f, 0x00, 0x2f, 0x00, 0x35];
    hello.extend([0, suites.len() as u8]);
    hello.extend(suites);
    hello.extend([1, 0]);
    let mut handshake = vec![1, 0, 0, hello.len() as u8];
    handshake.extend(hello);
    let mut record = vec![22, 3, minor, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

#[tokio::test]
async fn no_version_of_tls_before_1_2_is_spoken() {
    let ca = ca();
    let (_store, gateway) = started(&ca).await;
    // SSL 3.0, TLS 1.0, TLS 1.1.
    for minor in [0, 1, 2] {
        let mut raw = Raw::send(gateway.address(), client_hello(minor)).await;
        let answer = raw.read_to_end().await;
        assert!(answer.is_empty() || answer[0] == 21, "an alert: {answer:?}");
    }
    for version in [&TLS12, &TLS13] {
        let answer = ask(&gateway, connector(&ca, &[version], None)).await;
        assert_eq!(answer.expect("an answer").status(), 200, "{version:?}");
    }
}

#[tokio::test]
async fn clients_show_a_certificate_where_an_authority_is_configured_for_them() {
    let (ca, clients, strangers) = (ca(), self::ca(), self::ca());
    for (demand, without) in [
        (None, false),
        (Some("required"), false),
        (Some("optional"), true),
    ] {
        let (_store, gateway) = started_with(&ca, |setup| {
            let setup = setup
                .set("server.tls.client_ca", "clients.pem")
                .file("clients.pem", clients.pem());
            match demand {
                Some(demand) => setup.set("server.tls.client_certificate", demand),
                None => setup,
            }
        })
        .await;
        for version in [&TLS12, &TLS13] {
            let answers = async |own| {
                let answer = ask(&gateway, connector(&ca, &[version], own)).await;
                answer.is_ok_and(|answer| answer.status() == 200)
            };
            assert!(answers(Some(&clients)).await, "{demand:?} {version:?}");
            assert!(!answers(Some(&strangers)).await, "{demand:?} {version:?}");
            assert_eq!(answers(None).await, without, "{demand:?} {version:?}");
        }
    }
}

#[tokio::test]
async fn clients_of_an_authority_that_is_replaced_are_out() {
    let (ca, old, new) = (ca(), self::ca(), self::ca());
    let (_store, gateway) = started_with(&ca, |setup| {
        setup
            .set("server.tls.client_ca", "clients.pem")
            .file("clients.pem", old.pem())
    })
    .await;
    // The same client as before, with the ticket that it was given.
    let returning = connector(&ca, &[&TLS13], Some(&old));
    assert!(ask(&gateway, returning.clone()).await.is_ok());
    std::fs::write(gateway.directory().join("clients.pem"), new.pem()).expect("it is written");
    eventually("the new authority is in force", async || {
        let connector = connector(&ca, &[&TLS13], Some(&new));
        ask(&gateway, connector).await.ok()
    })
    .await;
    assert!(ask(&gateway, returning).await.is_err());
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_tls() {
    let ca = ca();
    for (hsts, field) in [
        (None, Some("max-age=31536000")),
        (Some("30d"), Some("max-age=2592000")),
        (Some("0"), None),
    ] {
        let (_store, gateway) = started_with(&ca, |setup| match hsts {
            Some(hsts) => setup.set("server.tls.hsts", hsts),
            None => setup,
        })
        .await;
        let answer = ask(&gateway, connector(&ca, &[&TLS13], None)).await;
        let answer = answer.expect("an answer");
        let shown = answer.headers().get("strict-transport-security");
        assert_eq!(shown.map(|value| value.to_str().expect("ASCII")), field);
    }
    let (_store, plain) = crate::support::gateway_over_store().await;
    let answer = plain.get("/").answer().await;
    assert_eq!(answer.header("strict-transport-security"), "");
}
