//! An annotation application that is a script: it sees the exact bytes that come, and answers with exact bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PATIENCE;
use super::gateway::{Gateway, Setup};

/// A request as it came over the wire.
#[derive(Debug)]
pub struct Seen {
    /// The request line and the fields, without the empty line.
    pub head: String,
    /// The body's bytes, chunked or not.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Every value of a field.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1);
        let fields = fields.filter_map(|line| line.split_once(": "));
        let of_name = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value).collect()
    }

    /// The one value of a field.
    pub fn field(&self, name: &str) -> &str {
        match self.fields(name)[..] {
            [value] => value,
            _ => panic!("not one {name}: {}", self.head),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        !self.fields(name).is_empty()
    }
}

/// One connection to the application.
pub struct Conversation {
    stream: TcpStream,
    seen: UnboundedSender<Seen>,
}

impl Conversation {
    /// A request's head; `None` where the connection ended.
    pub async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        head.truncate(head.len() - 4);
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    /// A request with its body, which the test is told of.
    pub async fn request(&mut self) -> Option<()> {
        let mut seen = Seen {
            head: self.head().await?,
            body: Vec::new(),
        };
        if seen.has("transfer-encoding") {
            while !seen.body.ends_with(b"0\r\n\r\n") {
                seen.body.push(self.stream.read_u8().await.ok()?);
            }
        } else if let [length] = seen.fields("content-length")[..] {
            let length: usize = length.parse().expect("a length");
            seen.body = self.exactly(length).await?;
        }
        // The test may have seen enough.
        let _ = self.seen.send(seen);
        Some(())
    }

    pub async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }

    /// What comes next, at most `length` bytes; 0: the end.
    pub async fn some(&mut self, length: usize) -> usize {
        let mut bytes = vec![0; length];
        self.stream.read(&mut bytes).await.unwrap_or(0)
    }

    /// Tells the test something that is no request.
    pub fn tell(&self, head: &str) {
        let head = head.to_owned();
        let body = Vec::new();
        let _ = self.seen.send(Seen { head, body });
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // Who asked may be gone.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }
}

/// A running application; it ends when it is dropped.
pub struct Application {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Mutex<UnboundedReceiver<Seen>>,
    _serving: JoinSet<()>,
}

impl Application {
    /// Each connection goes as `script` says; it is told which one it is, counted from 0.
    pub async fn start<F, S>(script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Conversation, usize) -> F + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let connections: Arc<AtomicUsize> = Arc::default();
        let (told, seen) = unbounded_channel();
        let counted = connections.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let conversation = Conversation {
                    stream,
                    seen: told.clone(),
                };
                conversations.spawn(script(conversation, number));
            }
        });
        Self {
            address,
            connections,
            seen: Mutex::new(seen),
            _serving: serving,
        }
    }

    /// Every request has the same answer.
    pub async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut conversation, _| async move {
            while conversation.request().await.is_some() {
                conversation.say(answer).await;
            }
        })
        .await
    }

    /// The configuration of a gateway in front of it.
    pub fn setup(&self) -> Setup {
        Setup::bare().set("server.upstream", format!("http://{}", self.address))
    }

    /// A gateway in front of it.
    pub async fn gateway(&self) -> Gateway {
        self.setup().start().await
    }

    /// The next request that came.
    pub async fn seen(&self) -> Seen {
        let mut seen = self.seen.lock().await;
        let next = timeout(PATIENCE, seen.recv()).await;
        next.expect("a request comes").expect("it runs")
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Whether no more requests have come than the test has looked at.
    pub async fn saw_no_more(&self) -> bool {
        self.seen.lock().await.is_empty()
    }
}
