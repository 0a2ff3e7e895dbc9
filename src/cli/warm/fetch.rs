//! One object through the media route of a running Lockgate, read to its end and dropped: so it comes into that
//! process's cache, past every check that an annotator passes.
//!
//! Decides about no second try: it says what kind of failure it was. Follows no redirect.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;
use url::Url;

use crate::ask::{HttpsClient, https_client};
use crate::ids::ProjectId;

/// Without a byte for as long: Lockgate itself gives storage up sooner.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What came of one object.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// All of it passed by.
    Whole {
        /// Its version.
        etag: Option<String>,
        /// Its length.
        bytes: u64,
    },
    /// It is still the version that was read before.
    Unchanged,
    /// Its storage hands out URLs, so there is nothing to keep.
    Redirected,
}

/// Why an object was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It would fail again.
    Object(String),
    /// Another time it may be there.
    Later {
        /// What happened.
        said: String,
        /// When to come again, where that was said.
        after: Option<Duration>,
    },
    /// Every other would fail as well.
    All(String),
}

/// How far a body has come.
pub trait Watch {
    /// It will have so many bytes.
    fn length(&mut self, bytes: u64);
    /// So many more have come.
    fn came(&mut self, bytes: u64);
}

/// A running Lockgate.
pub struct Gateway {
    client: HttpsClient,
    base: String,
    project: String,
}

impl Gateway {
    /// The project's route of the Lockgate at `url`; a path of the URL is kept before it.
    ///
    /// # Errors
    /// The certificates', where it is https.
    pub fn new(url: &Url, project: &ProjectId, ca_file: Option<&Path>) -> std::io::Result<Self> {
        let uri = url.as_str().parse().map_err(std::io::Error::other)?;
        Ok(Self {
            client: https_client(&uri, ca_file)?,
            base: url.as_str().trim_end_matches('/').to_owned(),
            project: utf8_percent_encode(project.as_str(), NON_ALPHANUMERIC).to_string(),
        })
    }

    /// Reads an object, unless it is still the version `known`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(
        &self,
        uri: &str,
        known: Option<&str>,
        authorization: &HeaderValue,
        watch: &mut impl Watch,
    ) -> Result<Read, Failure> {
        let response = self.head(uri, known, authorization).await?;
        match response.status().as_u16() {
            200 => whole(response, watch).await,
            303 => Ok(Read::Redirected),
            304 => Ok(Read::Unchanged),
            status => Err(refusal(status, response.headers())),
        }
    }

    async fn head(
        &self,
        uri: &str,
        known: Option<&str>,
        authorization: &HeaderValue,
    ) -> Result<Response<Incoming>, Failure> {
        let (base, project, uri) = (&self.base, &self.project, URL_SAFE_NO_PAD.encode(uri));
        let mut request = Request::get(format!("{base}/projects/{project}/resolve/?fileuri={uri}"))
            .header(header::AUTHORIZATION, authorization);
        if let Some(etag) = known {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        // An entity tag of a record that was edited may be no header's value.
        let request = request.body(Empty::new());
        let request = request.map_err(|error| Failure::Object(error.to_string()))?;
        match timeout(STALL_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => {
                let cause = super::super::with_causes(&error);
                Err(Failure::All(format!(
                    "no Lockgate answers at {base}: {cause}"
                )))
            }
            Ok(Err(_)) => Err(later("the connection broke off")),
            Err(_) => Err(later("no answer came in time")),
        }
    }
}

async fn whole(mut response: Response<Incoming>, watch: &mut impl Watch) -> Result<Read, Failure> {
    let etag = response.headers().get(header::ETAG);
    let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    if let Some(length) = crate::backend::http::content_length(response.headers()) {
        watch.length(length);
    }
    let mut bytes = 0;
    loop {
        let frame = timeout(STALL_TIMEOUT, response.body_mut().frame()).await;
        match frame.map_err(|_| later("the body stood still"))? {
            None => return Ok(Read::Whole { etag, bytes }),
            // hyper tells an end before Content-Length is reached as an error.
            Some(Err(_)) => return Err(later("the body broke off")),
            Some(Ok(frame)) => {
                let came = frame.data_ref().map_or(0, Bytes::len) as u64;
                bytes += came;
                watch.came(came);
            }
        }
    }
}

fn later(said: &str) -> Failure {
    Failure::Later {
        said: said.to_owned(),
        after: None,
    }
}

/// What a status means for the object, and for all others. 502 is storage's refusal or a broken answer: who asks again
/// at once gets the same.
fn refusal(status: u16, headers: &HeaderMap) -> Failure {
    let said = match status {
        401 => return Failure::All("Lockgate does not accept the token (401)".into()),
        403 => "not permitted (403)",
        404 => "not there (404)",
        429 => "too many requests (429)",
        502 => "storage refused, or broke the protocol (502)",
        503 => "storage or Lockgate is busy (503)",
        504 => "storage timed out (504)",
        _ => return Failure::Object(format!("answered {status}")),
    };
    if !matches!(status, 429 | 503 | 504) {
        return Failure::Object(said.to_owned());
    }
    Failure::Later {
        said: said.to_owned(),
        after: crate::backend::http::retry_after(headers),
    }
}
