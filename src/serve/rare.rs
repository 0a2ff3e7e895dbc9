//! What hardly ever happens to a connection, awaited beside what happens all the time.
//!
//! A future that is polled along with another one pays each time, though it has nothing to say: to ask a
//! `CancellationToken` takes a lock that all connections share. Here it is polled when it was woken itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

/// A future that is only polled when it was woken. In a box: the set has a place for one more than it holds.
pub(super) struct Rare<F>(FuturesUnordered<Pin<Box<F>>>);

impl<F: Future> Rare<F> {
    pub(super) fn new(future: F) -> Self {
        Self(FuturesUnordered::from_iter([Box::pin(future)]))
    }

    /// Awaits another one from now on; the one before has ended.
    pub(super) fn again(&mut self, future: F) {
        self.0.push(Box::pin(future));
    }
}

impl<F: Future> Future for Rare<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match Pin::new(&mut self.0).poll_next(cx) {
            Poll::Ready(Some(output)) => Poll::Ready(output),
            // Ended, and not begun again.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Does the work, unless `rare` ends first: then there is no output.
pub(super) async fn unless<W: Future>(rare: impl Future, work: W) -> Option<W::Output> {
    let rare = Rare::new(rare);
    tokio::select! {
        biased;
        _ = rare => None,
        output = work => Some(output),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn work_that_goes_on_does_not_ask_what_has_nothing_to_say() {
        let (asked, word) = (AtomicUsize::new(0), CancellationToken::new());
        let mut said = Box::pin(word.cancelled());
        let rare = std::future::poll_fn(|cx| {
            asked.fetch_add(1, Relaxed);
            said.as_mut().poll(cx)
        });
        let work = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            word.cancel();
            std::future::pending::<()>().await
        };
        let done = tokio::time::timeout(Duration::from_secs(60), unless(rare, work)).await;
        assert_eq!((done, asked.load(Relaxed)), (Ok(None), 2));
    }

    #[tokio::test]
    async fn what_happened_before_is_seen_before_any_work() {
        let word = CancellationToken::new();
        word.cancel();
        assert_eq!(unless(word.cancelled(), async { 1 }).await, None);
        assert_eq!(
            unless(std::future::pending::<()>(), async { 1 }).await,
            Some(1)
        );
    }
}
