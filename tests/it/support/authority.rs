//! A token endpoint of the tests' own: it shows what it was sent, and answers what the test says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What was sent.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    /// The query's fields, or the form's where there is one.
    pub fields: Vec<(String, String)>,
    pub headers: HeaderMap,
}

impl Asked {
    /// A field's value; empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        let mut named = self.fields.iter().filter(|(n, _)| n == name);
        named.next().map_or("", |(_, value)| value)
    }
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// A running endpoint; it ends when it is dropped.
pub struct Authority {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: AbortOnDropHandle<()>,
}

impl Authority {
    pub async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&asked), Arc::new(answer)));
        Self {
            url: format!("http://{address}"),
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panicked here").clone()
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Vec<Asked>>>, answer: Arc<Answer>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
        tokio::spawn(async move {
            let service = service_fn(|request| respond(request, &asked, &*answer));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    asked: &Mutex<Vec<Asked>>,
    answer: &Answer,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let form = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let written = if form.is_empty() {
        head.uri.query().unwrap_or_default().as_bytes()
    } else {
        &form
    };
    let fields = url::form_urlencoded::parse(written).into_owned().collect();
    let one = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        fields,
        headers: head.headers,
    };
    let (status, document) = answer(&one);
    asked.lock().expect("no test panicked here").push(one);
    let response = Response::builder()
        .status(status)
        .body(Full::from(document));
    Ok(response.expect("a status"))
}
