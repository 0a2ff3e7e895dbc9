//! What Google's services are asked, and what a test has them answer: tokens, metadata, STS, impersonation, IAM,
//! and one object for whoever brings the right token.
//!
//! A server in this process; each test answers as it likes, and looks afterwards at all that was sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The service account of the tests.
pub const EMAIL: &str = "reader@project.iam.gserviceaccount.com";

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The fields of a form.
    pub fn form(&self) -> HashMap<String, String> {
        assert_eq!(
            self.header("content-type"),
            "application/x-www-form-urlencoded"
        );
        url::form_urlencoded::parse(self.body.as_bytes())
            .into_owned()
            .collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// A status and a document.
pub type Answer = (u16, String);

/// A token's answer (RFC 6749 §5.1), good for an hour.
pub fn token(token: &str) -> Answer {
    (
        200,
        json!({ "access_token": token, "expires_in": 3600, "token_type": "Bearer" }).to_string(),
    )
}

/// The server.
pub struct Google {
    origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Google {
    /// Starts it. `/media/*` is an object for whoever brings the token `good`; all else is the test's to answer.
    pub async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (asked.clone(), Arc::new(answer));
        let serving = tokio::spawn(async move {
            // Connections end with their set, and the set with this task.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (log.clone(), answer.clone());
                let service =
                    service_fn(move |request| respond(request, log.clone(), answer.clone()));
                let connection = hyper::server::conn::http1::Builder::new();
                connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            origin,
            asked,
            serving,
        }
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `host:port`, as metadata servers are named.
    pub fn host(&self) -> &str {
        self.origin.trim_start_matches("http://")
    }

    /// All that was asked so far whose path begins so.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().expect("no test panics with it");
        asked
            .iter()
            .filter(|asked| asked.path.starts_with(path))
            .cloned()
            .collect()
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn respond(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<impl Fn(&Asked) -> Answer>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path_and_query().expect("a path").to_string(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    };
    log.lock()
        .expect("no test panics with it")
        .push(asked.clone());
    if asked.path.starts_with("/media/") {
        return Ok(object(&asked));
    }
    let (status, document) = answer(&asked);
    let response = Response::builder()
        .status(status)
        .body(Full::from(document));
    Ok(response.expect("a response"))
}

/// The one object: three bytes of generation 7.
fn object(asked: &Asked) -> Response<Full<Bytes>> {
    assert_eq!(
        asked.header("accept-encoding"),
        "gzip",
        "else storage unpacks what is stored"
    );
    let response = Response::builder();
    let response = match asked.header("authorization") {
        "Bearer good" => response
            .status(206)
            .header("content-range", "bytes 0-2/3")
            .header("x-goog-generation", "7")
            .body("abc".into()),
        _ => response
            .status(401)
            .body("<Error><Code>AuthenticationRequired</Code></Error>".into()),
    };
    response.expect("a response")
}

/// A service account's key, made for one test.
pub struct AccountKey(KeyPair);

impl AccountKey {
    pub fn generate() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    /// A key file as Google writes it.
    pub fn file(&self, token_uri: &str) -> String {
        let der: Pkcs8V1Der<'_> = self.0.as_der().expect("PKCS #8");
        let text = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        json!({
            "type": "service_account", "project_id": "project", "private_key_id": "key-1", "private_key": pem,
            "client_email": EMAIL, "client_id": "1", "token_uri": token_uri, "universe_domain": "googleapis.com",
        })
        .to_string()
    }

    /// Whether this is the key's signature of the message.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let public =
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.public_key().as_ref());
        public.verify(message, signature).is_ok()
    }

    /// The claims of an RS256 token that this key has signed.
    pub fn claims(&self, token: &str) -> Value {
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert!(
            self.signed(signed.as_bytes(), &signature),
            "another's signature"
        );
        let (header, claims) = signed.split_once('.').expect("three parts");
        let part = |text: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64")).expect("JSON")
        };
        assert_eq!(
            part(header),
            json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" })
        );
        part(claims)
    }

    /// What `signBlob` would answer.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        let padding = &aws_lc_rs::signature::RSA_PKCS1_SHA256;
        self.0
            .sign(padding, &random, message, &mut signature)
            .expect("it signs");
        signature
    }
}
