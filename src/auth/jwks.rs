//! An issuer's key set, fetched and kept fresh (RFC 7517 §5).
//!
//! One background task does all fetching, so that there is never more than one fetch at a time. It never
//! follows a redirect or an address from a token, and a failed fetch never takes keys away.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use jsonwebtoken::Algorithm;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::AuthConfigError;
use super::keys::{Key, KeySet};
use crate::ask::{self, HttpsClient};

/// For the whole answer: requests wait for it where a key is missing.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Some hundred keys; issuers publish a handful.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// How often the key set is fetched.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    /// Without being asked. A key that the issuer withdraws verifies tokens for so long.
    pub(super) refresh: Duration,
    /// After a failure.
    pub(super) retry: Duration,
    /// At most once in this time because of unknown keys: anybody can send a token with an invented `kid`.
    pub(super) refetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            retry: Duration::from_secs(10),
            refetch: Duration::from_secs(10),
        }
    }
}

/// The key set, and the owner of the task that refreshes it.
pub(super) struct Jwks {
    current: Arc<ArcSwap<KeySet>>,
    fetches: watch::Receiver<Fetches>,
    /// The number of the fetch that somebody waits for.
    wanted: watch::Sender<u64>,
    refetch: Duration,
    _refresher: AbortOnDropHandle<()>,
}

/// The fetches so far, numbered from 1.
#[derive(Clone, Copy)]
struct Fetches {
    begun: u64,
    finished: u64,
    /// When the last one began that an unknown key caused.
    refetched_at: Option<Instant>,
}

impl Jwks {
    /// Starts fetching, now and from then on. `configured` keys stay beside the fetched ones.
    pub(super) fn start(
        url: &Url,
        configured: Vec<Key>,
        allowed: &[Algorithm],
        timing: Timing,
    ) -> Result<Self, AuthConfigError> {
        let uri: Uri = url.as_str().parse().map_err(|_| AuthConfigError::JwksUrl)?;
        let first = KeySet::awaiting(configured.clone());
        let current = Arc::new(ArcSwap::from_pointee(first));
        let (fetches_sender, fetches) = watch::channel(Fetches {
            begun: 1,
            finished: 0,
            refetched_at: None,
        });
        let (wanted, wanted_receiver) = watch::channel(0);
        let refresher = Refresher {
            client: ask::https_client(&uri, None).map_err(AuthConfigError::Roots)?,
            uri,
            configured,
            allowed: allowed.to_vec(),
            timing,
            current: current.clone(),
            fetches: fetches_sender,
            wanted: wanted_receiver,
        };
        Ok(Self {
            current,
            fetches,
            wanted,
            refetch: timing.refetch,
            _refresher: AbortOnDropHandle::new(tokio::spawn(refresher.run())),
        })
    }

    /// The keys in force.
    pub(super) fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// The keys after a fetch that is under way or, where there is none, a new one; the keys as they are
    /// where the last such fetch is too recent.
    pub(super) async fn refetched(&self) -> Arc<KeySet> {
        let mut fetches = self.fetches.clone();
        let seen = *fetches.borrow_and_update();
        let in_flight = seen.finished < seen.begun;
        let too_soon = |at: Instant| at.elapsed() < self.refetch;
        if !in_flight && seen.refetched_at.is_some_and(too_soon) {
            return self.current();
        }
        let awaited = if in_flight {
            seen.begun
        } else {
            seen.begun + 1
        };
        // Everybody who saw the same state asks for the same number, so that it is fetched once.
        self.wanted
            .send_modify(|wanted| *wanted = awaited.max(*wanted));
        // An error means that the refresher is gone; the keys as they are is then all there is.
        let _ = fetches.wait_for(|now| now.finished >= awaited).await;
        self.current()
    }

    /// Waits until the first fetch has ended, well or not.
    pub(super) async fn first_fetch(&self) {
        let _ = self.fetches.clone().wait_for(|now| now.finished > 0).await;
    }

    /// Waits until that many more fetches have begun and ended.
    #[cfg(test)]
    pub(super) async fn more_fetches(&self, more: u64) {
        let mut fetches = self.fetches.clone();
        let awaited = fetches.borrow_and_update().begun + more;
        let _ = fetches.wait_for(|now| now.finished >= awaited).await;
    }

    /// Waits until the refresher is gone.
    #[cfg(test)]
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut fetches = self.fetches.clone();
        async move { while fetches.changed().await.is_ok() {} }
    }
}

/// The background task: the only one that fetches and the only one that replaces the keys.
struct Refresher {
    client: HttpsClient,
    uri: Uri,
    configured: Vec<Key>,
    allowed: Vec<Algorithm>,
    timing: Timing,
    current: Arc<ArcSwap<KeySet>>,
    fetches: watch::Sender<Fetches>,
    wanted: watch::Receiver<u64>,
}

impl Refresher {
    async fn run(mut self) {
        loop {
            let pause = match self.refresh().await {
                Ok(()) => self.timing.refresh,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "fetching the key set failed, the old keys stay");
                    self.timing.retry
                }
            };
            let finished = self.fetches.borrow().begun;
            self.fetches.send_modify(|now| now.finished = finished);
            let refetched_at = tokio::select! {
                () = tokio::time::sleep(pause) => None,
                wanted = self.wanted.wait_for(|wanted| *wanted > finished) => match wanted {
                    Ok(_) => Some(Instant::now()),
                    Err(_) => return,
                },
            };
            self.fetches.send_modify(|now| {
                now.begun += 1;
                now.refetched_at = refetched_at.or(now.refetched_at);
            });
        }
    }

    /// Fetches the key set and puts it in the place of the old one, at once and as a whole.
    async fn refresh(&self) -> Result<(), FetchError> {
        let document = tokio::time::timeout(FETCH_TIMEOUT, self.fetch())
            .await
            .map_err(|_| FetchError::TimedOut)??;
        let keys = KeySet::fetched(self.configured.clone(), &document, &self.allowed)
            .map_err(FetchError::NotAKeySet)?;
        if keys.fingerprint != self.current.load().fingerprint {
            tracing::info!(keys = keys.len(), "key set replaced");
            self.current.store(Arc::new(keys));
        }
        Ok(())
    }

    async fn fetch(&self) -> Result<Bytes, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        let accept = header::HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(header::ACCEPT, accept);
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES);
        Ok(body.collect().await.map_err(FetchError::Body)?.to_bytes())
    }
}

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer in time")]
    TimedOut,
    #[error("the request failed")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("the body could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not a key set")]
    NotAKeySet(#[source] serde_json::Error),
}
