//! A Databricks workspace in this process: its Files API 2.0 over memory, and its OAuth token endpoint, as documented.
//!
//! Checks what it is sent: tokens, grants, percent-encoding. Pages of listings are short, and some are empty.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::shop::{Kind, Shop};

pub const TOKEN: &str = "dapi0123456789";
pub const CLIENT_ID: &str = "5f1c-principal";
/// With characters that RFC 6749 §2.3.1 wants encoded before they are joined.
pub const CLIENT_SECRET: &str = "dose+s:e%c ret";
const VOLUME: &str = "main/default/data set";

/// What one answer shall be instead of the right one.
pub type Fault = (u16, &'static str);

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    modified: SystemTime,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Stored>,
    tokens: BTreeSet<String>,
    issued: usize,
    faults: Vec<Fault>,
    token_faults: Vec<Fault>,
    requests: Vec<String>,
}

/// A running workspace; it ends when it is dropped.
pub struct FilesApi {
    base: String,
    state: Arc<Mutex<State>>,
    _serving: AbortOnDropHandle<()>,
}

impl FilesApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = State {
            tokens: [TOKEN.into()].into(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let serving = tokio::spawn(serve(listener, base.clone(), state.clone()));
        Self {
            base,
            state,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic before")
    }

    /// The keys of a `[[storage]]` section without an identity.
    pub fn volume(&self) -> String {
        format!(
            "kind = 'databricks'\nhost = '{}'\nvolume = '{VOLUME}'\n",
            self.base
        )
    }

    /// The same with the token.
    pub fn section(&self) -> String {
        format!("{}token = '{TOKEN}'\n", self.volume())
    }

    /// The workspace's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The next answers of the Files API.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// The next answers of the token endpoint.
    pub fn fail_tokens(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().token_faults.extend(faults);
    }

    /// Lets no token in that was issued so far.
    pub fn revoke(&self) {
        self.state().tokens.clear();
    }

    /// How many tokens were issued.
    pub fn issued(&self) -> usize {
        self.state().issued
    }

    /// Method and path of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Stores a file as of that time.
    pub fn put_at(&self, key: &str, bytes: Vec<u8>, modified: SystemTime) {
        let path = format!("/Volumes/{VOLUME}/{key}");
        let stored = Stored {
            bytes: bytes.into(),
            modified,
        };
        self.state().files.insert(path, stored);
    }
}

/// Each file an hour old, and each new version of it a minute younger.
impl Shop for FilesApi {
    fn kind(&self) -> Kind {
        Kind::Databricks
    }

    fn section(&self) -> String {
        self.section()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let path = format!("/Volumes/{VOLUME}/{key}");
        let before = self.state().files.get(&path).map(|file| file.modified);
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let modified = before.map_or(an_hour_ago, |before| before + Duration::from_secs(60));
        self.put_at(key, bytes, modified);
    }

    async fn remove(&self, key: &str) {
        let path = format!("/Volumes/{VOLUME}/{key}");
        self.state().files.remove(&path);
    }

    fn uris(&self, key: &str) -> Vec<String> {
        vec![format!("dbx://Volumes/{VOLUME}/{key}")]
    }
}

async fn serve(listener: TcpListener, base: String, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (base, state) = (base.clone(), state.clone());
        let service = service_fn(move |request| {
            let (base, state) = (base.clone(), state.clone());
            async move { Ok::<_, Infallible>(answer(request, &base, &state).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move { connection.await.is_ok() });
    }
}

async fn answer(
    request: Request<Incoming>,
    base: &str,
    state: &Mutex<State>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let mut state = state.lock().expect("no panic before");
    let path = head.uri.path().to_owned();
    state.requests.push(format!("{} {}", head.method, head.uri));
    if path.starts_with("/oidc/") {
        return token(&mut state, base, &path, &head, &body);
    }
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = field("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if !bearer.is_some_and(|token| state.tokens.contains(token)) {
        return refuse(401, "UNAUTHENTICATED");
    }
    if let Some((status, code)) = (!state.faults.is_empty()).then(|| state.faults.remove(0)) {
        return refuse(status, code);
    }
    // What is not encoded would not have reached a workspace as it was meant.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b);
    if !path.bytes().all(plain) {
        return refuse(400, "INVALID_PARAMETER_VALUE");
    }
    let decoded = percent_decode_str(&path).decode_utf8().expect("UTF-8");
    if let Some(file) = decoded.strip_prefix("/api/2.0/fs/files") {
        let Some(file) = state.files.get(file) else {
            return refuse(404, "NOT_FOUND");
        };
        return read(
            file,
            &head.method,
            field("range"),
            field("if-unmodified-since"),
        );
    }
    match decoded.strip_prefix("/api/2.0/fs/directories") {
        Some(directory) => list(
            &state.files,
            directory,
            head.uri.query().unwrap_or_default(),
        ),
        None => refuse(404, "ENDPOINT_NOT_FOUND"),
    }
}

fn read(
    file: &Stored,
    method: &Method,
    range: Option<&str>,
    unmodified_since: Option<&str>,
) -> Response<Full<Bytes>> {
    let second = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    };
    if let Some(date) = unmodified_since.and_then(|date| httpdate::parse_http_date(date).ok())
        && second(file.modified) > second(date)
    {
        return refuse(412, "FAILED_PRECONDITION");
    }
    let response = Response::builder()
        .header("last-modified", httpdate::fmt_http_date(file.modified))
        .header("content-type", "application/octet-stream")
        .header("accept-ranges", "bytes")
        .header("server", "databricks");
    let length = file.bytes.len();
    let range = range.and_then(|field| field.strip_prefix("bytes=")?.split_once('-'));
    let response = match range {
        Some((first, last)) if *method == Method::GET => {
            let first: usize = first.parse().expect("an absolute range");
            let last: usize = last.parse().expect("a closed range");
            if first >= length {
                return refuse(416, "INVALID_RANGE");
            }
            let end = (last + 1).min(length);
            response
                .status(206)
                .header(
                    "content-range",
                    format!("bytes {first}-{}/{length}", end - 1),
                )
                .body(Full::new(file.bytes.slice(first..end)))
        }
        // Of an answer to HEAD the server sends the head alone.
        _ => response
            .header("content-length", length)
            .body(match *method {
                Method::HEAD => Full::default(),
                _ => Full::new(file.bytes.clone()),
            }),
    };
    response.expect("an answer")
}

/// Two entries a page, after a first one that is empty.
fn list(files: &BTreeMap<String, Stored>, directory: &str, query: &str) -> Response<Full<Bytes>> {
    let inside = format!("{}/", directory.trim_end_matches('/'));
    let mut entries = BTreeMap::new();
    for (path, file) in files {
        let Some(rest) = path.strip_prefix(&inside) else {
            continue;
        };
        let entry = match rest.split_once('/') {
            Some((name, _)) => (
                format!("{inside}{name}"),
                serde_json::json!({"path": format!("{inside}{name}"), "name": name, "is_directory": true}),
            ),
            None => (
                path.clone(),
                serde_json::json!({"path": path, "name": rest, "is_directory": false,
                    "file_size": file.bytes.len(), "last_modified": 1_700_000_000_000_u64}),
            ),
        };
        entries.insert(entry.0, entry.1);
    }
    if entries.is_empty() {
        return refuse(404, "NOT_FOUND");
    }
    let token = query
        .split('&')
        .find_map(|field| field.strip_prefix("page_token="));
    let at: Option<usize> = token.map(|token| {
        let token = percent_decode_str(token).decode_utf8().expect("UTF-8");
        token
            .strip_prefix("page/+=")
            .expect("our own token")
            .parse()
            .expect("a number")
    });
    let size = query
        .split('&')
        .find_map(|field| field.strip_prefix("page_size="));
    let size: usize = size.map_or(2, |size| size.parse().expect("a number"));
    let size = size.clamp(1, 2);
    let (page, next): (Vec<_>, _) = match at {
        None => (vec![], Some(0)),
        Some(at) => (
            entries.values().skip(at).take(size).cloned().collect(),
            (at + size < entries.len()).then_some(at + size),
        ),
    };
    let mut document = serde_json::json!({ "contents": page });
    if let Some(next) = next {
        document["next_page_token"] = format!("page/+={next}").into();
    }
    Response::new(Full::from(document.to_string()))
}

fn token(
    state: &mut State,
    base: &str,
    path: &str,
    head: &http::request::Parts,
    body: &[u8],
) -> Response<Full<Bytes>> {
    if path == "/oidc/.well-known/oauth-authorization-server" {
        let document =
            serde_json::json!({"issuer": base, "token_endpoint": format!("{base}/oidc/v1/token")});
        return Response::new(Full::from(document.to_string()));
    }
    if let Some((status, error)) =
        (!state.token_faults.is_empty()).then(|| state.token_faults.remove(0))
    {
        return problem(
            status,
            serde_json::json!({"error": error, "error_description": CLIENT_ID}),
        );
    }
    let encoded =
        url::form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect::<String>();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT_ID}:{encoded}"));
    let sent = head
        .headers
        .get("authorization")
        .map(|value| value.as_bytes());
    if path != "/oidc/v1/token" || sent != Some(format!("Basic {basic}").as_bytes()) {
        return problem(401, serde_json::json!({"error": "invalid_client"}));
    }
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(body).into_owned().collect();
    let grant = [("grant_type", "client_credentials"), ("scope", "all-apis")];
    if form
        != grant
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    {
        return problem(400, serde_json::json!({"error": "invalid_request"}));
    }
    state.issued += 1;
    let token = format!("issued-{}", state.issued);
    state.tokens.insert(token.clone());
    let document =
        serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
    Response::new(Full::from(document.to_string()))
}

fn refuse(status: u16, code: &str) -> Response<Full<Bytes>> {
    problem(
        status,
        serde_json::json!({"error_code": code, "message": format!("{code}: told")}),
    )
}

fn problem(status: u16, document: serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(document.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if status == 429 {
        response.headers_mut().insert("retry-after", 1.into());
    }
    response
}
