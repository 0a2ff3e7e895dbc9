//! A service to ask in tests, over a real socket: answers as it is told to, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// One question, as it arrived.
#[derive(Clone, Debug)]
pub struct Question {
    /// Path and query.
    pub path: String,
    /// The fields by their names in lower case.
    pub fields: HashMap<String, String>,
}

/// What is answered: status, further head lines, body.
pub type Reply = (u16, String, String);

type Script = dyn Fn(&Question) -> Reply + Send + Sync;

/// The service.
pub struct Scripted {
    /// Where it listens.
    pub url: Url,
    asked: Arc<Mutex<Vec<Question>>>,
    held: watch::Sender<bool>,
    script: Arc<Mutex<Arc<Script>>>,
    server: Option<AbortOnDropHandle<()>>,
}

/// 200 with JSON.
pub fn json(body: impl ToString) -> Reply {
    (
        200,
        "content-type: application/json\r\n".into(),
        body.to_string(),
    )
}

/// A status and nothing else.
pub fn status(status: u16) -> Reply {
    (status, String::new(), String::new())
}

/// 303 to an address.
pub fn see_other(location: &str) -> Reply {
    (303, format!("location: {location}\r\n"), String::new())
}

impl Scripted {
    /// Starts it.
    pub async fn start(script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (held, gate) = watch::channel(false);
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let (list, replies) = (asked.clone(), script.clone());
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, list.clone(), gate.clone(), replies.clone()));
            }
        });
        Self {
            url: url.parse().expect("a URL"),
            asked,
            held,
            script,
            server: Some(AbortOnDropHandle::new(server)),
        }
    }

    /// From now on it says something else.
    pub fn say(&self, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) {
        *self.script.lock().expect("no panic") = Arc::new(script);
    }

    /// It takes questions and does not answer, until told otherwise.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// It is gone.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().expect("no panic").clone()
    }

    /// How many questions so far were about paths that begin like this.
    pub fn count(&self, path: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|it| it.path.starts_with(path)).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<Question>>>,
    mut gate: watch::Receiver<bool>,
    script: Arc<Mutex<Arc<Script>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let question = parse(&String::from_utf8_lossy(&head));
    asked.lock().expect("no panic").push(question.clone());
    if gate.wait_for(|held| !held).await.is_err() {
        return;
    }
    let script = script.lock().expect("no panic").clone();
    let (status, fields, body) = script(&question);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} so\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn parse(head: &str) -> Question {
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1));
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Question {
        path: path.unwrap_or_default().to_owned(),
        fields: fields.collect(),
    }
}
