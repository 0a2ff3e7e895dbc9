//! A storage that misbehaves as it is told: S3 in path style over a raw socket, each answer the true one until a test
//! bends it. Tag and bytes of an object follow from its key and version alone, so that every byte can be checked.
//!
//! Looks at no signature, and sends exactly the bytes it is told to, whatever HTTP says of them.

mod answer;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::content::Pattern;
pub use answer::{Answer, Asked, At, Body, Break, Framing};

/// How many requests are remembered: a soak makes more than are worth the memory.
const REMEMBERED: usize = 5000;

/// How an answer is bent.
pub type Bend = Arc<dyn Fn(&mut Answer) + Send + Sync>;

#[derive(Default)]
struct State {
    objects: HashMap<String, (u64, u64)>,
    script: VecDeque<Bend>,
    always: Option<Bend>,
    asked: Vec<Asked>,
    count: usize,
}

/// A running store; it ends when it is dropped, and every connection with it.
pub struct WildStore {
    endpoint: String,
    state: Arc<Mutex<State>>,
    open: Arc<AtomicUsize>,
    down: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl WildStore {
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    /// Over TLS, for `localhost`.
    pub async fn over_tls(tls: TlsAcceptor) -> Self {
        Self::serve(Some(tls)).await
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let endpoint = match &tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        };
        let state: Arc<Mutex<State>> = Arc::default();
        let (down, open) = (watch::Sender::new(false), Arc::default());
        let mut serving = JoinSet::new();
        let (of_accept, watches) = (Arc::clone(&open), down.subscribe());
        serving.spawn(accept(listener, tls, state.clone(), of_accept, watches));
        Self {
            endpoint,
            state,
            open,
            down,
            _serving: serving,
        }
    }

    /// The keys of a `[[storage]]` section for its bucket `media`.
    pub fn section(&self) -> String {
        format!(
            "{}access_key_id = 'AKIAWILD'\nsecret_access_key = 'any'\n",
            self.place()
        )
    }

    /// The same without credentials.
    pub fn place(&self) -> String {
        let endpoint = &self.endpoint;
        format!("kind = 's3'\nbucket = 'media'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n")
    }

    /// Puts a new version of an object; its content.
    pub fn put(&self, key: &str, length: u64) -> Pattern {
        let mut state = self.state();
        let object = state.objects.entry(key.to_owned()).or_default();
        *object = (object.0 + 1, length);
        content(key, object.0)
    }

    /// The version of an object that is there.
    pub fn version(&self, key: &str) -> u64 {
        self.state().objects[key].0
    }

    pub fn remove(&self, key: &str) {
        self.state().objects.remove(key);
    }

    /// The next answer is bent so, after those that are to be bent already.
    pub fn next(&self, bend: impl Fn(&mut Answer) + Send + Sync + 'static) {
        self.state().script.push_back(Arc::new(bend));
    }

    /// So many of the next are.
    pub fn next_few(&self, count: usize, bend: impl Fn(&mut Answer) + Send + Sync + 'static) {
        let bend: Bend = Arc::new(bend);
        self.state().script.extend(std::iter::repeat_n(bend, count));
    }

    /// All are, from now on.
    pub fn always(&self, bend: impl Fn(&mut Answer) + Send + Sync + 'static) {
        self.state().always = Some(Arc::new(bend));
    }

    /// None is, from now on.
    pub fn behave(&self) {
        let mut state = self.state();
        state.always = None;
        state.script.clear();
    }

    /// Every connection is reset, and so is each new one, until it is up again.
    pub fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    /// The first requests, some thousands of them.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.state().count
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked here")
    }
}

/// The bytes of an object's version.
pub fn content(key: &str, version: u64) -> Pattern {
    Pattern(seed(key).wrapping_add(version) % 1_000_003)
}

/// The tag of an object's version, quotes included.
pub fn etag(key: &str, version: u64) -> String {
    format!("\"{:08x}-v{version}\"", seed(key) as u32)
}

/// The version that a tag stands for.
pub fn version_of(etag: &str) -> u64 {
    let version = etag.trim_matches('"').split_once("-v");
    version
        .and_then(|(_, version)| version.parse().ok())
        .expect("a tag of the store's own")
}

/// FNV-1a.
fn seed(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<Mutex<State>>,
    open: Arc<AtomicUsize>,
    down: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let (tls, state, mut down) = (tls.clone(), state.clone(), down.clone());
                let open = open.clone();
                open.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    // A connection that is dropped is reset, not closed: what was not sent is lost.
                    let _ = stream.set_zero_linger();
                    tokio::select! {
                        _ = down.wait_for(|down| *down) => {}
                        () = connected(stream, tls, &state) => {}
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connected(stream: TcpStream, tls: Option<TlsAcceptor>, state: &Mutex<State>) {
    match tls {
        None => converse(stream, state).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, state).await;
            }
        }
    }
}

/// Answers request after request, until one breaks the connection.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) {
    while let Some(asked) = read_head(&mut stream).await {
        let answer = {
            let mut state = state.lock().expect("no test panicked here");
            state.count += 1;
            if state.asked.len() < REMEMBERED {
                state.asked.push(asked.clone());
            }
            let mut answer = truth(&state, asked);
            let scripted = state.script.pop_front();
            if let Some(bend) = scripted.or_else(|| state.always.clone()) {
                bend(&mut answer);
            }
            answer
        };
        if wire::send(&mut stream, &answer).await.is_none() {
            return;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut request = lines.next()?.split(' ');
    let (method, path) = (request.next()?.to_owned(), request.next()?);
    let key = path
        .split('?')
        .next()?
        .strip_prefix("/media/")
        .unwrap_or_default();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Some(Asked {
        method,
        key: key.to_owned(),
        fields: fields.collect(),
    })
}

/// What S3 would say.
fn truth(state: &State, asked: Asked) -> Answer {
    let object = state.objects.get(&asked.key).copied();
    let mut answer = Answer {
        status: String::new(),
        fields: Vec::new(),
        body: Body::Text(Vec::new()),
        framing: Framing::Length,
        breaks: None,
        drip: None,
        before: Vec::new(),
        raw: None,
        asked,
        there: object,
    };
    let Some((version, length)) = object else {
        answer.refuse(404, "NoSuchKey");
        return answer;
    };
    let tag = etag(&answer.asked.key, version);
    let range = answer.asked.range();
    let wanted = answer.asked.field("if-match");
    if !wanted.is_empty() && wanted != tag {
        answer.refuse(412, "PreconditionFailed");
    } else if answer.asked.field("if-none-match") == tag {
        answer.status = "304 Not Modified".into();
        answer.fields = vec![("ETag".into(), tag)];
    } else if range.as_ref().is_some_and(|range| range.start >= length) {
        answer.refuse(416, "InvalidRange");
    } else {
        answer.give(
            version,
            range.map(|range| range.start..range.end.min(length)),
            length,
        );
    }
    answer
}
