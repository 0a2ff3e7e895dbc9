//! Whether a connection is held for nothing: its bytes are counted where they pass, and every few seconds a [`Watch`]
//! looks whether they moved.
//!
//! hyper's own timer for heads also runs while a kept-alive connection idles, and its detection of the version and its
//! writes have none. The judgement is pure: what was seen and the time in, a verdict out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// No time-out is so short that the watch should keep the machine busy.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// How long a connection may do nothing. Each is kept to within half of the shortest.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the connection to its first request's whole head, and from a head's first byte to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a write to move: a client that reads nothing for longer comes back with a Range.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            // Longer than the 60 s of common reverse proxies, so that it is they who close.
            idle: Duration::from_secs(75),
            write: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// How often to look.
    pub(super) fn interval(&self) -> Duration {
        (self.head.min(self.idle).min(self.write) / 2).max(MIN_INTERVAL)
    }
}

/// What passed over a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    read: AtomicU64,
    written: AtomicU64,
    write_blocked: AtomicBool,
    http2: AtomicBool,
    requests: AtomicU64,
    in_flight: AtomicU64,
}

/// [`Activity`] at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    read: u64,
    written: u64,
    write_blocked: bool,
    http2: bool,
    requests: u64,
    in_flight: u64,
    mid_head: bool,
}

impl Activity {
    /// A request has come; it is over when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> InFlight {
        self.http2.store(http2, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// So many requests are all that were asked, all are answered, and nothing waits to be written. hyper may have read
    /// more of them than it has begun.
    pub(super) fn has_answered(&self, requests: u64) -> bool {
        self.requests.load(Relaxed) == requests
            && self.in_flight.load(Relaxed) == 0
            && !self.write_blocked.load(Relaxed)
    }

    /// Whether no request has come yet.
    pub(super) fn is_silent(&self) -> bool {
        self.requests.load(Relaxed) == 0
    }

    /// As things stand; `mid_head`: a head of HTTP/1.1 is half there.
    pub(super) fn seen(&self, mid_head: bool) -> Seen {
        Seen {
            read: self.read.load(Relaxed),
            written: self.written.load(Relaxed),
            write_blocked: self.write_blocked.load(Relaxed),
            http2: self.http2.load(Relaxed),
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            mid_head,
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// Whether the socket takes no more for now.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.0.write_blocked.load(Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// It may end after what it does.
    Finish,
    /// It must end now: a head that was awaited has not come.
    Late,
    /// It must end now, for this reason.
    Cut(&'static str),
}

/// Judges a connection by what moved since it last looked. Pure.
#[derive(Debug)]
pub(super) struct Watch {
    timeouts: Timeouts,
    last: Seen,
    /// Since when nothing that waits to be written has moved.
    blocked_since: Instant,
    /// Since when there is no request.
    quiet_since: Instant,
    /// Since when a head is awaited that must come: the first, or one that has begun.
    head_since: Option<Instant>,
}

impl Watch {
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        Self {
            timeouts,
            last: Seen::default(),
            blocked_since: now,
            quiet_since: now,
            head_since: Some(now),
        }
    }

    pub(super) fn verdict(&mut self, seen: Seen, now: Instant) -> Verdict {
        if !seen.write_blocked || seen.written != self.last.written {
            self.blocked_since = now;
        }
        if seen.in_flight > 0 || seen.requests != self.last.requests || seen.write_blocked {
            self.quiet_since = now;
            self.head_since = None;
        } else if (seen.read != self.last.read && !seen.http2) || seen.mid_head {
            // HTTP/2 says much that is no head: pings, window updates. There only the first request is awaited.
            self.head_since.get_or_insert(now);
        }
        self.last = seen;

        let since = |moment: Instant| now.saturating_duration_since(moment);
        if since(self.blocked_since) >= self.timeouts.write {
            Verdict::Cut("the client reads nothing")
        } else if self
            .head_since
            .is_some_and(|head| since(head) >= self.timeouts.head)
        {
            Verdict::Late
        } else if since(self.quiet_since) >= self.timeouts.idle + self.timeouts.head {
            Verdict::Cut("the connection idles and does not end")
        } else if since(self.quiet_since) >= self.timeouts.idle {
            Verdict::Finish
        } else {
            Verdict::Keep
        }
    }
}

/// A socket whose bytes are counted.
#[derive(Debug)]
pub(super) struct Counted<IO> {
    io: IO,
    activity: Arc<Activity>,
}

impl<IO> Counted<IO> {
    pub(super) fn new(io: IO, activity: Arc<Activity>) -> Self {
        Self { io, activity }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity
            .write_blocked
            .store(result.is_pending(), Relaxed);
        if let Poll::Ready(Ok(bytes)) = &result {
            self.activity.written.fetch_add(*bytes as u64, Relaxed);
        }
        result
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.activity
            .read
            .fetch_add((buf.filled().len() - before) as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each second at what `seen` says, and gives the first verdict that is not to keep, with its second.
    fn first_verdict(seen: impl Fn(u64) -> Seen) -> Option<(u64, Verdict)> {
        let start = Instant::now();
        let mut watch = Watch::new(Timeouts::default(), start);
        (1..=300).find_map(|second| {
            let verdict = watch.verdict(seen(second), start + Duration::from_secs(second));
            (verdict != Verdict::Keep).then_some((second, verdict))
        })
    }

    fn answered() -> Seen {
        Seen {
            read: 100,
            written: 100,
            requests: 1,
            ..Seen::default()
        }
    }

    #[test]
    fn what_was_read_and_not_begun_is_not_answered() {
        let activity = Arc::<Activity>::default();
        assert!(activity.has_answered(0));
        let request = activity.begin(false);
        assert!(!activity.has_answered(1));
        drop(request);
        assert!(activity.has_answered(1) && !activity.has_answered(2));
        activity.write_blocked.store(true, Relaxed);
        assert!(!activity.has_answered(1));
    }

    #[test]
    fn silence_after_connect_is_cut_after_the_heads_time_out() {
        let (second, verdict) = first_verdict(|_| Seen::default()).unwrap();
        assert_eq!((second, verdict), (10, Verdict::Late));
    }

    #[test]
    fn a_head_that_trickles_is_cut_even_after_an_answered_request() {
        let (second, _) = first_verdict(|second| Seen {
            read: second,
            ..Seen::default()
        })
        .unwrap();
        assert_eq!(second, 10);
        let trickle = |second| Seen {
            read: 100 + second / 20,
            ..answered()
        };
        let (second, verdict) = first_verdict(trickle).unwrap();
        assert_eq!((second, verdict), (30, Verdict::Late));
    }

    #[test]
    fn a_head_that_came_half_with_the_request_before_it_is_late_too() {
        let seen = |_| Seen {
            mid_head: true,
            ..answered()
        };
        assert_eq!(first_verdict(seen), Some((12, Verdict::Late)));
    }

    #[test]
    fn an_idle_connection_is_asked_to_finish_and_pings_do_not_keep_it() {
        assert_eq!(first_verdict(|_| answered()), Some((76, Verdict::Finish)));
        let pinging = |second| Seen {
            http2: true,
            read: 100 + second,
            ..answered()
        };
        assert_eq!(first_verdict(pinging), Some((76, Verdict::Finish)));
    }

    #[test]
    fn a_running_body_is_kept_however_long_storage_takes() {
        assert_eq!(
            first_verdict(|_| Seen {
                in_flight: 1,
                ..answered()
            }),
            None
        );
    }

    #[test]
    fn a_write_that_does_not_move_is_cut_and_a_slow_one_is_kept() {
        let blocked = |written| Seen {
            in_flight: 1,
            write_blocked: true,
            written,
            ..answered()
        };
        let (second, verdict) = first_verdict(|_| blocked(100)).unwrap();
        assert!(second == 61 && matches!(verdict, Verdict::Cut(_)));
        assert_eq!(first_verdict(|second| blocked(second / 50)), None);
    }
}
