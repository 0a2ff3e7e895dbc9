//! A server of the tests' own, that answers each request as a closure says: token endpoints and the like.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request with its whole body.
pub type Asked = Request<String>;

/// A running server; it ends when it is dropped.
pub struct Stub {
    pub endpoint: String,
    asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Stub {
    /// Listens; `answer` gives a status and a body.
    pub async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked: Arc<AtomicUsize> = Arc::default();
        let (recorded, answer) = (asked.clone(), Arc::new(answer));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (recorded, answer) = (recorded.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (recorded, answer) = (recorded.clone(), answer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.expect("a whole request").to_bytes();
                        let body = String::from_utf8_lossy(&body).into_owned();
                        let asked = Request::from_parts(head, body);
                        let (status, body) = answer(&asked);
                        // An instance's metadata service says back how long its token lives.
                        let life = "x-aws-ec2-metadata-token-ttl-seconds";
                        let life = asked
                            .headers()
                            .get(life)
                            .cloned()
                            .map(|value| (life, value));
                        recorded.fetch_add(1, Ordering::SeqCst);
                        let mut response = Response::new(Full::new(Bytes::from(body)));
                        *response.status_mut() = status.try_into().expect("a status");
                        if let Some((name, value)) = life {
                            response.headers_mut().insert(name, value);
                        }
                        Ok::<_, Infallible>(response)
                    }
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            endpoint,
            asked,
            _serving: serving,
        }
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
