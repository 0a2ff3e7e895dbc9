//! What this room's tests share: keys, tokens as an issuer would sign them, and an issuer on loopback.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod key_sets;
mod tokens;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{Annotator, AuthConfig, AuthError, Authenticator, Credentials};
use crate::secret::Secret;

pub(super) const SECRET: &str = "a secret that is long enough for every hash";
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn now() -> SystemTime {
    at(0)
}

/// So many seconds after [`now`].
pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW + seconds)
}

/// A key pair of an issuer.
pub(super) struct Signer {
    pub(super) private_pem: String,
    pub(super) public_pem: String,
}

impl Signer {
    pub(super) fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        Self {
            private_pem: pair.serialize_pem(),
            public_pem: pair.public_key_pem(),
        }
    }

    pub(super) fn key(&self, algorithm: Algorithm) -> EncodingKey {
        let pem = self.private_pem.as_bytes();
        match algorithm.family() {
            AlgorithmFamily::Hmac => EncodingKey::from_secret(SECRET.as_bytes()),
            AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem).unwrap(),
            AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem).unwrap(),
            AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem).unwrap(),
        }
    }

    pub(super) fn jwk(&self, algorithm: Algorithm, kid: &str) -> Value {
        let pem = self.public_pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem));
        let jwk = Jwk::from_decoding_key(&key.unwrap(), Some(algorithm)).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = kid.into();
        jwk
    }

    pub(super) fn token(&self, algorithm: Algorithm, kid: &str) -> String {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        sign(
            &header,
            &claims().to_string(),
            &self.key(algorithm),
            algorithm,
        )
    }
}

pub(super) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new(&rcgen::PKCS_RSA_SHA256));
pub(super) static P256: LazyLock<Signer> =
    LazyLock::new(|| Signer::new(&rcgen::PKCS_ECDSA_P256_SHA256));
pub(super) static P384: LazyLock<Signer> =
    LazyLock::new(|| Signer::new(&rcgen::PKCS_ECDSA_P384_SHA384));
pub(super) static ED: LazyLock<Signer> = LazyLock::new(|| Signer::new(&rcgen::PKCS_ED25519));

/// Claims that are accepted.
pub(super) fn claims() -> Value {
    json!({"iss": "https://issuer.test", "aud": "lockgate", "sub": "anna", "exp": NOW + 600})
}

/// Signs what is written, well-formed or not.
pub(super) fn sign(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = [header, claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(super) fn hs256(claims: &str) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    sign(r#"{"alg":"HS256"}"#, claims, &key, Algorithm::HS256)
}

/// A configuration without a key.
pub(super) fn config(algorithms: &[Algorithm]) -> AuthConfig {
    AuthConfig {
        issuer: "https://issuer.test".into(),
        audience: "lockgate".into(),
        algorithms: algorithms.to_vec(),
        hmac_secret: None,
        public_key: None,
        private_key: None,
        jwks_url: None,
        leeway: Duration::ZERO,
        groups_claim: "groups".into(),
        query_token: true,
        secure_cookie: None,
    }
}

pub(super) fn with_secret() -> Authenticator {
    let secret = Some(Secret::new(SECRET));
    let config = config(&[Algorithm::HS256]);
    Authenticator::new(AuthConfig {
        hmac_secret: secret,
        ..config
    })
    .unwrap()
}

pub(super) async fn bearer(
    auth: &Authenticator,
    token: &str,
    now: SystemTime,
) -> Result<Arc<Annotator>, AuthError> {
    let credentials = Credentials {
        bearer: Some(token),
        ..Credentials::default()
    };
    auth.authenticate(credentials, now).await
}

/// Whether a token was refused as invalid, and why.
pub(super) fn reason(answer: Result<Arc<Annotator>, AuthError>) -> Option<&'static str> {
    match answer {
        Err(AuthError::Invalid(reason)) => Some(reason),
        Ok(_) | Err(AuthError::Missing | AuthError::NoKeys | AuthError::Unavailable(_)) => None,
    }
}

/// An issuer's server on loopback, which serves a key set and counts who asks.
pub(super) struct Issuer {
    pub(super) url: Url,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    location: String,
    body: Bytes,
}

impl Issuer {
    pub(super) async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Answer {
            status: StatusCode::OK,
            location: String::new(),
            body: Bytes::new(),
        }));
        let requests = Arc::new(AtomicUsize::new(0));
        let serving = serve(listener, answer.clone(), requests.clone());
        let issuer = Self {
            url: url.parse().unwrap(),
            answer,
            requests,
            _server: AbortOnDropHandle::new(tokio::spawn(serving)),
        };
        issuer.publish(keys);
        issuer
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.answer(StatusCode::OK, "", json!({ "keys": keys }).to_string());
    }

    pub(super) fn answer(&self, status: StatusCode, location: &str, body: impl Into<Bytes>) {
        *self.answer.lock().unwrap() = Answer {
            status,
            location: location.into(),
            body: body.into(),
        };
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<Answer>>, requests: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, requests) = (answer.clone(), requests.clone());
        let service = service_fn(move |_| {
            requests.fetch_add(1, Ordering::SeqCst);
            let answer = answer.lock().unwrap().clone();
            let response = Response::builder()
                .status(answer.status)
                .header(header::LOCATION, answer.location)
                .body(Full::new(answer.body));
            async move { response }
        });
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}
