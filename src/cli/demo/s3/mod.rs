//! An S3-compatible server in this process, for the demo and for the tests: s3s checks SigV4 signatures and presigned
//! URLs, the objects are in memory or computed, and tests can hold, delay, break and count requests.
//!
//! Loopback and path style only. Follows RFC 9110 §13 and §14 and S3's API reference; never holds a real secret.

mod control;
mod operations;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

pub use control::{Fault, Recorded};
pub use store::{Content, Fill, Object};

use control::{Control, Hooks, answer};
use operations::Operations;
use store::Store;

/// An access key that the server knows.
#[derive(Clone)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The token that requests must carry with it, as temporary credentials do.
    pub session_token: Option<String>,
}

impl AccessKey {
    /// A key without a session token.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            session_token: None,
        }
    }
}

/// The server: up from [`S3Server::start`] until it is dropped, and every connection with it.
pub struct S3Server {
    endpoint: Url,
    store: Arc<Store>,
    control: Arc<Control>,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Listens on a free port of the loopback address and knows these keys.
    pub async fn start(keys: impl IntoIterator<Item = AccessKey>) -> io::Result<Self> {
        let mut auth = SimpleAuth::new();
        let mut session_tokens = HashMap::new();
        for key in keys {
            if let Some(token) = key.session_token {
                session_tokens.insert(key.id.clone(), token);
            }
            auth.register(key.id, key.secret.into());
        }
        let store = Arc::new(Store::default());
        let control = Arc::new(Control::new(session_tokens));
        let mut builder = S3ServiceBuilder::new(Operations {
            store: store.clone(),
            control: control.clone(),
        });
        builder.set_auth(auth);
        builder.set_access(Hooks(control.clone()));
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let endpoint = Url::parse(&endpoint).map_err(io::Error::other)?;
        let accepting = tokio::spawn(accept(listener, builder.build()));
        Ok(Self {
            endpoint,
            store,
            control,
            accepting,
        })
    }

    /// Where it listens: for path style.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Makes a bucket; one that an object is put into is there already.
    pub fn create_bucket(&self, bucket: &str) {
        self.store.create_bucket(bucket);
    }

    /// Puts bytes, or replaces the object with a new version of it; its entity tag, quotes included.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        content: impl Into<Content>,
        content_type: Option<&str>,
    ) -> String {
        self.put_object(bucket, key, Object::new(content, content_type))
    }

    /// Puts an object with headers of one's own; its entity tag, quotes included.
    pub fn put_object(&self, bucket: &str, key: &str, object: Object) -> String {
        let etag = format!("\"{}\"", object.etag);
        self.store.put(bucket, key, object);
        etag
    }

    /// Removes an object.
    pub fn remove(&self, bucket: &str, key: &str) {
        self.store.remove(bucket, key);
    }

    /// The signed requests so far, in the order they came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.control.requests.borrow().clone()
    }

    /// How many signed requests there were.
    pub fn request_count(&self) -> usize {
        self.control.requests.borrow().len()
    }

    /// How many requests of an operation named this key.
    pub fn count(&self, operation: &str, key: &str) -> usize {
        let requests = self.control.requests.borrow();
        requests
            .iter()
            .filter(|request| request.operation == operation && request.key == key)
            .count()
    }

    /// Forgets the requests and the bytes so far.
    pub fn reset_counters(&self) {
        self.control.requests.send_replace(Vec::new());
        self.control.bytes_sent.send_replace(0);
    }

    /// Waits until there were this many requests, held ones included.
    pub async fn wait_for_requests(&self, count: usize) {
        // The sender lives as long as `self`.
        let _ = self
            .control
            .requests
            .subscribe()
            .wait_for(|requests| requests.len() >= count)
            .await;
    }

    /// The bytes of all bodies so far, as they were handed to their connections.
    pub fn bytes_sent(&self) -> u64 {
        *self.control.bytes_sent.borrow()
    }

    /// Waits until all bodies together have sent this many bytes.
    pub async fn wait_for_bytes(&self, bytes: u64) {
        let _ = self
            .control
            .bytes_sent
            .subscribe()
            .wait_for(|sent| *sent >= bytes)
            .await;
    }

    /// From now on requests are recorded and then wait, until [`Self::release`].
    pub fn hold(&self) {
        self.control.heads_open.send_replace(false);
    }

    /// Lets the requests that wait, and the bodies that wait, go on.
    pub fn release(&self) {
        self.control.heads_open.send_replace(true);
        self.control.body_allowance.send_replace(u64::MAX);
    }

    /// From now on every body waits once it has sent this many bytes, until [`Self::release`] or a larger number.
    pub fn hold_bodies_after(&self, bytes: u64) {
        self.control.body_allowance.send_replace(bytes);
    }

    /// Delays each answer's head, and each piece (256 KiB) of its body.
    pub fn set_latency(&self, head: Duration, piece: Duration) {
        self.control.set_latency(head, piece);
    }

    /// The next requests go wrong, after those that were already told to.
    pub fn fail_next(&self, count: usize, fault: Fault) {
        self.control.push_faults(count, fault);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // The task owns the connections: they end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(serve(stream, service.clone())); }
                // Out of descriptors: one is freed when a connection ends.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, service: S3Service) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { answer(hyper::service::Service::call(&service, request).await) }
    });
    // A client that leaves is no news.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
