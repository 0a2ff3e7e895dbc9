//! Two connections that have become one: bytes both ways until one side ends, both are silent, or the gateway drains.
//!
//! Knows no WebSocket frame (RFC 6455): it copies bytes. Owns every task that it starts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::places::Place;

/// How long the two connections may take to be handed over once the 101 is sent.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// What is silent both ways for this long is forgotten by somebody: libraries ping each minute or more often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// What is read at once.
const BUFFER: usize = 8 << 10;

/// The tunnels that are open. They end when this is dropped or told to.
#[derive(Debug)]
pub struct Tunnels {
    tracker: TaskTracker,
    end: CancellationToken,
    _end_when_dropped: DropGuard,
}

impl Tunnels {
    /// None yet; all will end with `drain`: a tunnel has no end of its own to wait for, and its client comes back.
    pub fn until(drain: &CancellationToken) -> Self {
        let end = drain.child_token();
        Self {
            tracker: TaskTracker::new(),
            _end_when_dropped: end.clone().drop_guard(),
            end,
        }
    }

    /// Ends all, and waits until they have.
    pub async fn close(&self) {
        self.end.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Opens one; `place` is given back with its end.
    pub(super) fn open(&self, client: OnUpgrade, upstream: OnUpgrade, place: Place) {
        let end = self.end.clone();
        self.tracker.spawn(async move {
            end.run_until_cancelled(run(client, upstream)).await;
            drop(place);
        });
    }
}

async fn run(client: OnUpgrade, upstream: OnUpgrade) {
    let both = async { tokio::join!(client, upstream) };
    if let Ok((Ok(client), Ok(upstream))) = tokio::time::timeout(HANDOVER_TIMEOUT, both).await {
        copy(client, upstream).await;
    }
}

/// Each way ends for itself: what one side still has to say after the other's end is heard.
async fn copy(client: Upgraded, upstream: Upgraded) {
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let moved = AtomicU64::new(0);
    tokio::join!(
        pump(from_client, to_upstream, &moved),
        pump(from_upstream, to_client, &moved)
    );
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let seen = moved.load(Relaxed);
        let read = match tokio::time::timeout(IDLE_TIMEOUT, from.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => read,
            Ok(_) => break,
            // The other way has moved: only this one has nothing to say.
            Err(_) if moved.load(Relaxed) != seen => continue,
            Err(_) => break,
        };
        let write = async {
            to.write_all(&buffer[..read]).await?;
            to.flush().await
        };
        match tokio::time::timeout(IDLE_TIMEOUT, write).await {
            Ok(Ok(())) => moved.fetch_add(1, Relaxed),
            Ok(Err(_)) | Err(_) => break,
        };
    }
    let _ = to.shutdown().await;
}
