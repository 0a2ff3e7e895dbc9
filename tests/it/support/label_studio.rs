//! A Label Studio of the tests' own: only the routes that Lockgate uses, as 1.23 answers them, over the S3 server in
//! this process. What is asked of it is written down; it can sign for a short life, sign no more, and forget people.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lockgate::backend::config::{S3Config, StaticCredentials};
use lockgate::backend::http::HttpClient;
use lockgate::backend::s3::S3;
use lockgate::backend::{Presign, PresignOptions};
use lockgate::object::ObjectLocation;
use lockgate::secret::Secret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::PATIENCE;
use super::gateway::{Gateway, Setup};
use super::store::{ID, SECRET, Store};

/// What stands in it, and how it behaves.
pub struct State {
    /// The data of task 1, of project 1.
    pub data: Value,
    /// Whether the storage of project 1 (bucket `media`, prefix `data`) signs.
    pub presign: bool,
    /// How long its URLs say that they live.
    pub life: Duration,
    /// Sessions of people who were removed: known, and allowed nothing.
    pub removed: HashSet<String>,
    /// What it serves itself where it does not sign.
    pub served: (u16, &'static [(&'static str, &'static str)], Bytes),
    /// What it was asked, path and query.
    pub asked: Vec<String>,
    /// Every URL that it signed.
    pub signed: Vec<String>,
    /// The fields of the media requests that were passed on to it.
    pub passed: Vec<HeaderMap>,
    /// And their paths and queries.
    pub passed_for: Vec<String>,
}

/// A running one; it ends when it is dropped.
pub struct LabelStudio {
    pub url: String,
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

impl LabelStudio {
    /// Anna and Bert have the sessions `anna` and `bert`; task 1 names the media that `uris` say.
    pub async fn start(store: &Store, uris: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Arc::new(Mutex::new(State {
            data: json!({"media": uris}),
            presign: true,
            life: Duration::from_secs(60),
            removed: HashSet::new(),
            served: (200, &[], Bytes::new()),
            asked: Vec::new(),
            signed: Vec::new(),
            passed: Vec::new(),
            passed_for: Vec::new(),
        }));
        let signer = Arc::new(signer(store));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, signer) = (shared.clone(), signer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (state, signer) = (state.clone(), signer.clone());
                    async move { Ok::<_, Infallible>(answer(&request, &state, &signer).await) }
                });
                connections.spawn(async move {
                    let connection = http1::Builder::new();
                    let _ = connection
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            url,
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Its state, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked here")
    }

    /// How often a path that begins so was asked for.
    pub fn count(&self, path: &str) -> usize {
        let state = self.state();
        state.asked.iter().filter(|it| it.starts_with(path)).count()
    }

    /// A gateway in front of it, its decisions asked for each time.
    pub fn setup(&self) -> Setup {
        Setup::empty()
            .set("server.listen", "127.0.0.1:0")
            .set("server.admin_listen", "127.0.0.1:0")
            .set("log.access", "access.log")
            .set("access.source", "label-studio")
            .set("access.label_studio.url", self.url.as_str())
            .set("access.max_age", "0s")
    }

    pub async fn gateway(&self) -> Gateway {
        self.setup().start().await
    }
}

fn signer(store: &Store) -> S3 {
    let config = S3Config {
        bucket: "media".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(store.endpoint().clone()),
        path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: ID.into(),
            secret_access_key: Secret::new(SECRET),
            session_token: None,
        }),
        ..S3Config::default()
    };
    S3::new(config, HttpClient::new(None, PATIENCE).expect("a client"))
}

async fn answer(
    request: &Request<Incoming>,
    state: &Mutex<State>,
    signer: &S3,
) -> Response<Full<Bytes>> {
    let url: url::Url = format!("http://studio{}", request.uri())
        .parse()
        .expect("a path");
    let query = |name: &str| {
        let pair = url.query_pairs().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.into_owned())
    };
    let locked = || state.lock().expect("no test panicked here");
    locked().asked.push(request.uri().to_string());
    let session = session(request.headers());
    let segments: Vec<&str> = url.path().split('/').filter(|it| !it.is_empty()).collect();
    let api = matches!(segments.first(), Some(&("api" | "tasks" | "data")));
    if api && !matches!(session.as_deref(), Some("anna" | "bert")) {
        return told(401, &[("www-authenticate", "Token")], "{}");
    }
    let session = session.unwrap_or_default();
    let may = !locked().removed.contains(&session);
    match segments[..] {
        ["api", "current-user", "whoami"] => {
            let who = json!({"id": 1, "email": format!("{session}@example.com")});
            told(200, &[], who.to_string())
        }
        ["api", "tasks" | "storages", ..] | ["tasks", "1", _] if !may => told(403, &[], "{}"),
        ["api", "tasks", "1"] => {
            let task = json!({"id": 1, "project": 1, "data": locked().data});
            told(200, &[], task.to_string())
        }
        // Filters are Lockgate's to check again: all of the project's one task is a fair answer to any.
        ["api", "tasks"] => {
            let task = json!({"id": 1, "project": 1, "data": locked().data});
            told(200, &[], json!({"tasks": [task], "total": 1}).to_string())
        }
        ["api", "storages", "s3"] => {
            let storage = json!([{"id": 1, "presign": locked().presign, "bucket": "media", "prefix": "data"}]);
            told(200, &[], storage.to_string())
        }
        ["api", "storages", _] => told(200, &[], "[]"),
        ["tasks", "1", "resolve"] if locked().presign => {
            let uri = from_base64(&query("fileuri").expect("there is one"));
            let key = uri
                .strip_prefix("s3://media/")
                .expect("it is of the bucket");
            let life = locked().life;
            let signed = sign(signer, key, life).await;
            locked().signed.push(signed.clone());
            told(
                303,
                &[("location", &signed), ("set-cookie", "sessionid=next")],
                "",
            )
        }
        ["data", "local-files"] if !may => told(404, &[], ""),
        // The condition of who only asks whether it would be sent.
        ["data", "local-files"] if request.headers().contains_key("if-none-match") => {
            told(304, &[], "")
        }
        ["tasks", "1", "resolve"] | ["data", "local-files"] => {
            let mut state = locked();
            state.passed_for.push(request.uri().to_string());
            state.passed.push(request.headers().clone());
            let (status, fields, body) = state.served.clone();
            let mut answer = told(status, fields, body);
            let own = [
                ("set-cookie", "sessionid=next"),
                ("vary", "Accept-Language, Cookie, origin"),
            ];
            for (name, value) in own {
                answer
                    .headers_mut()
                    .insert(name, value.parse().expect("a value"));
            }
            answer
        }
        _ => told(
            200,
            &[("set-cookie", "sessionid=next")],
            "a page of the application",
        ),
    }
}

/// The session of a cookie or a token: its name.
fn session(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cookies = text("cookie").unwrap_or_default().split("; ");
    let mut cookies = cookies.filter_map(|pair| pair.strip_prefix("sessionid="));
    let token = text("authorization").and_then(|field| field.strip_prefix("Token "));
    cookies.next().or(token).map(str::to_owned)
}

fn from_base64(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE.decode(text);
    String::from_utf8(bytes.expect("base64")).expect("text")
}

async fn sign(signer: &S3, key: &str, life: Duration) -> String {
    let location = ObjectLocation {
        storage: "media".into(),
        epoch: 0,
        bucket: "media".into(),
        key: key.into(),
    };
    let options = PresignOptions {
        head_only: false,
        expiry: life,
        content_type: Some("video/mp4".into()),
    };
    let signed = signer.presign(&location, &options).await;
    signed.expect("it is signed").url.expose().to_owned()
}

fn told(status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let body = body.into();
    let mut answer = Response::builder().status(status);
    if body.starts_with(b"{") || body.starts_with(b"[") {
        answer = answer.header("content-type", "application/json");
    }
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    answer.body(Full::new(body)).expect("a valid answer")
}
