//! A storage of the tests' own: answers each request as a closure says, on a free port of the loopback address.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What a storage answers with.
pub type Answer = Response<Full<Bytes>>;
type Head = Request<()>;

/// A running server; it ends when it is dropped.
pub struct Stub {
    /// Where it listens.
    pub port: u16,
    asked: Arc<Mutex<Vec<Head>>>,
    _serving: JoinSet<()>,
}

impl Stub {
    /// Listens, with TLS where it is given how.
    pub async fn start(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Head) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Head>>> = Arc::default();
        let (recorded, answer) = (asked.clone(), Arc::new(answer));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (recorded, answer, tls) = (recorded.clone(), answer.clone(), tls.clone());
                let answer = move |head: Head| {
                    let answered = answer(&head);
                    recorded.lock().unwrap().push(head);
                    answered
                };
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            asked,
            _serving: serving,
        }
    }

    /// The heads of the requests so far.
    pub fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Head>> {
        self.asked.lock().unwrap()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Head) -> Answer + Clone,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let head = Request::from_parts(request.into_parts().0, ());
        ready(Ok::<_, Infallible>(answer(head)))
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An answer with these fields.
pub fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

/// How a server shakes hands for `name`, and the authority that makes it trusted, in PEM.
pub fn authority(name: &str) -> (tokio_rustls::TlsAcceptor, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let pem = authority
        .self_signed(&authority_key)
        .expect("an authority")
        .pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([name.to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate and its key");
    (
        tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)),
        pem,
    )
}
