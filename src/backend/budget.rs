//! How many second tries a storage may be asked for: a fifth of its requests, so that those who wait for the end of an
//! outage do not make it last (finagle's `RetryBudget`, tower's `Budget`).
//!
//! Counts, and never waits. One budget a storage, whoever asks.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What each request adds: with all of them failing, storage is asked 1.2 times as often as it would be.
const SHARE: f64 = 0.2;
/// What each second adds, so that a quiet gateway may always try again.
const PER_SECOND: f64 = 2.0;
/// More is not saved up: a burst of second tries is over after this many, however long all was well.
const MOST: f64 = 40.0;
/// What there is at the start: a cold gateway that meets a stumbling storage tries again, too.
const AT_START: f64 = 10.0;

/// A storage's budget.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(Bucket {
            tokens: AT_START,
            filled_at: Instant::now(),
        }))
    }
}

impl Budget {
    /// A request is made for the first time.
    pub(super) fn deposit(&self) {
        self.change(Instant::now(), |tokens| *tokens += SHARE);
    }

    /// Whether one may be made again.
    pub(super) fn withdraw(&self) -> bool {
        self.change(Instant::now(), take_one)
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut f64) -> T) -> T {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.duration_since(bucket.filled_at).as_secs_f64();
        bucket.filled_at = now;
        bucket.tokens = (bucket.tokens + seconds * PER_SECOND).min(MOST);
        change(&mut bucket.tokens)
    }
}

fn take_one(tokens: &mut f64) -> bool {
    let enough = *tokens >= 1.0;
    if enough {
        *tokens -= 1.0;
    }
    enough
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many of `requests` that all fail, in an instant, may be made again.
    fn granted(budget: &Budget, now: Instant, requests: usize) -> usize {
        let asks = (0..requests).filter(|_| {
            budget.change(now, |tokens| *tokens += SHARE);
            budget.change(now, take_one)
        });
        asks.count()
    }

    #[test]
    fn a_fifth_of_the_requests_is_made_again_beside_the_first_few() {
        let (budget, now) = (Budget::default(), Instant::now());
        let again = granted(&budget, now, 1000);
        assert!((200..=211).contains(&again), "{again}");
    }

    #[test]
    fn a_quiet_gateway_may_try_again_and_saves_up_no_burst() {
        let (budget, now) = (Budget::default(), Instant::now());
        granted(&budget, now, 1000);
        let later = now + Duration::from_secs(1);
        assert_eq!(granted(&budget, later, 2), 2);
        let much_later = now + Duration::from_secs(86_400);
        let burst = (0..1000).filter(|_| budget.change(much_later, take_one));
        assert_eq!(burst.count(), MOST as usize);
    }
}
