//! Fills one window from storage: pinned to its version, checked, and taken up again where storage breaks off.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::outage::Outage;
use super::slots::Slots;
use super::window::Window;
use super::windows::Windows;
use crate::backend::retry::{MAX_TRIES, Tries, pause};
use crate::backend::{Backend, BackendError, ByteStream, Call, Condition, Conditional, Fetched};
use crate::cache::{ChunkKey, ChunkStore};
use crate::object::ObjectMeta;
use crate::telemetry::TraceContext;

/// An answer that is there already.
pub struct Begun {
    /// The answer.
    pub fetched: Fetched,
    /// How often it was asked for.
    pub tries: Tries,
    /// Held until the body is in.
    pub _slot: OwnedSemaphorePermit,
}

/// One window to fill.
pub struct Fetch {
    /// Where from.
    pub backend: Arc<dyn Backend>,
    /// How many fetches this storage may have under way.
    pub slots: Slots,
    /// Told of what storage answers.
    pub outage: Outage,
    /// Which chunk.
    pub key: ChunkKey,
    /// Its bytes in the object.
    pub range: Range<u64>,
    /// The object's metadata in this version.
    pub meta: Arc<ObjectMeta>,
    /// Passed on to storage.
    pub trace: Option<TraceContext>,
}

/// Fails its window when it goes before the window is whole: no reader waits for a fetch that is no more.
pub struct Filling {
    key: ChunkKey,
    window: Arc<Window>,
    windows: Arc<Windows>,
}

impl Filling {
    /// Takes on the duty to fill a window.
    pub fn new(key: ChunkKey, window: Arc<Window>, windows: Arc<Windows>) -> Self {
        Self {
            key,
            window,
            windows,
        }
    }

    fn fail(&self, error: BackendError) {
        self.window.fail(error);
        self.windows.failed(&self.key, &self.window);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.window.whole().is_none() {
            self.fail(BackendError::Unavailable("the fetch was given up".into()));
        }
    }
}

impl Fetch {
    /// Fetches until the window is whole or three tries have failed. `first` is an answer that is there already.
    pub async fn run(self, filling: Filling, first: Option<Begun>, chunks: Arc<dyn ChunkStore>) {
        match self.fill(&filling.window, first).await {
            Ok(()) => {
                let chunk = filling.window.finish(|frames| chunks.gather(frames));
                let length = chunk.len();
                chunks.put(self.key.clone(), chunk).await;
                filling.windows.finished(self.key, length);
            }
            Err(error) => filling.fail(error),
        }
    }

    async fn fill(&self, window: &Arc<Window>, first: Option<Begun>) -> Result<(), BackendError> {
        let mut answer = first;
        let tries = answer
            .as_ref()
            .map_or_else(Tries::default, |first| first.tries.clone());
        loop {
            let attempt = match answer.take() {
                Some(Begun { fetched, _slot, .. }) => pour(fetched.body, window).await,
                None => {
                    // The board and this fetch hold the window; who waits for its bytes holds it, too, and who reads
                    // from it holds it weakly between two frames.
                    let wanted = || Arc::strong_count(window) > 2 || Arc::weak_count(window) > 0;
                    let _slot = self.slots.take(wanted).await?.ok_or_else(nobody_waits)?;
                    // The backend tries as often as is left to try.
                    let fetched = self.ask(window.received(), &tries).await;
                    self.outage.heard(&fetched);
                    let fetched = fetched?;
                    pour(fetched.body, window).await
                }
            };
            match attempt {
                Ok(()) => return Ok(()),
                // All bytes are in: how the connection ended is of no interest.
                Err(error)
                    if error.is_transient()
                        && window.received() == self.range.end - self.range.start =>
                {
                    return Ok(());
                }
                Err(error) if error.is_transient() && tries.count() < MAX_TRIES => {
                    let tries = tries.count();
                    tracing::debug!(%error, tries, "taking up a window where storage broke off");
                    pause(tries).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The rest of the window from `received` on, of this version or not at all.
    async fn ask(&self, received: u64, tries: &Tries) -> Result<Fetched, BackendError> {
        let version = &self.key.version;
        let call = Call {
            trace: self.trace,
            tries: tries.clone(),
            ..Call::about(&version.location)
        }
        .on(Condition::IfMatch(version.etag.clone()));
        let asked = self.range.start + received..self.range.end;
        let fetched = match self.backend.get(call, asked.clone()).await {
            Ok(Conditional::Is(fetched)) => fetched,
            Ok(Conditional::NotModified) => {
                return Err(BackendError::Protocol("a 304 to If-Match".into()));
            }
            // The window lies within this version, so what ends before it is another one.
            Err(BackendError::RangeNotSatisfiable) => return Err(BackendError::Changed),
            Err(error) => return Err(error),
        };
        // Some stores ignore If-Match: what came back must say itself that it is this version. One that is coded
        // otherwise has other bytes, whatever its tag.
        let same = fetched.meta.etag == version.etag
            && fetched.meta.complete_length == self.meta.complete_length
            && fetched.meta.content_encoding == self.meta.content_encoding;
        if !same || fetched.range != asked {
            Err(BackendError::Changed)
        } else {
            Ok(fetched)
        }
    }
}

fn nobody_waits() -> BackendError {
    BackendError::Unavailable("nobody waits for it any more".into())
}

async fn pour(mut body: ByteStream, window: &Window) -> Result<(), BackendError> {
    while let Some(frame) = body.next().await {
        window.push(frame?);
    }
    Ok(())
}
