//! How many second requests a storage may be sent: a fifth of its requests where the first failed, so that those who
//! wait for the end of an outage do not make it last (finagle's `RetryBudget`, tower's `Budget`), and a twentieth of
//! them where it is merely slow.
//!
//! Counts, and never waits. One budget of each kind a storage, whoever asks.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How a budget fills.
#[derive(Debug)]
struct Rates {
    /// What each request adds.
    share: f64,
    /// What each second adds.
    per_second: f64,
    /// More is not saved up: a burst is over after this many, however long all was well.
    most: f64,
    /// What there is at the start.
    at_start: f64,
}

/// With all of them failing, storage is asked 1.2 times as often as it would be. A quiet gateway may always try again,
/// and so may a cold one that meets a stumbling storage.
const RETRIES: Rates = Rates {
    share: 0.2,
    per_second: 2.0,
    most: 40.0,
    at_start: 10.0,
};
/// One in twenty of the requests so far, and never more: nothing is given for time or to begin with.
const HEDGES: Rates = Rates {
    share: 0.05,
    per_second: 0.0,
    most: 10.0,
    at_start: 0.0,
};

/// A storage's budget.
#[derive(Debug)]
pub(super) struct Budget {
    rates: Rates,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Budget {
    /// For what failed and is asked for again.
    pub(super) fn of_retries() -> Self {
        Self::new(RETRIES)
    }

    /// For what is slow and is asked for a second time.
    pub(super) fn of_hedges() -> Self {
        Self::new(HEDGES)
    }

    fn new(rates: Rates) -> Self {
        let bucket = Mutex::new(Bucket {
            tokens: rates.at_start,
            filled_at: Instant::now(),
        });
        Self { rates, bucket }
    }

    /// A request is made for the first time.
    pub(super) fn deposit(&self) {
        let share = self.rates.share;
        self.change(Instant::now(), |tokens| *tokens += share);
    }

    /// Whether one may be made again.
    pub(super) fn withdraw(&self) -> bool {
        self.change(Instant::now(), take_one)
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut f64) -> T) -> T {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.duration_since(bucket.filled_at).as_secs_f64();
        bucket.filled_at = now;
        let filled = bucket.tokens + seconds * self.rates.per_second;
        bucket.tokens = filled.min(self.rates.most);
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
            budget.change(now, |tokens| *tokens += budget.rates.share);
            budget.change(now, take_one)
        });
        asks.count()
    }

    #[test]
    fn a_fifth_of_the_requests_is_made_again_beside_the_first_few() {
        let (budget, now) = (Budget::of_retries(), Instant::now());
        let again = granted(&budget, now, 1000);
        assert!((200..=211).contains(&again), "{again}");
    }

    #[test]
    fn a_quiet_gateway_may_try_again_and_saves_up_no_burst() {
        let (budget, now) = (Budget::of_retries(), Instant::now());
        granted(&budget, now, 1000);
        let later = now + Duration::from_secs(1);
        assert_eq!(granted(&budget, later, 2), 2);
        let much_later = now + Duration::from_secs(86_400);
        let burst = (0..1000).filter(|_| budget.change(much_later, take_one));
        assert_eq!(burst.count(), RETRIES.most as usize);
    }

    #[test]
    fn one_request_in_twenty_is_hedged_and_the_first_of_them_are_not() {
        let (budget, now) = (Budget::of_hedges(), Instant::now());
        assert_eq!(granted(&budget, now, 19), 0);
        // Sums of 0.05 are not exact.
        let hedged = granted(&budget, now + Duration::from_secs(3600), 1981);
        assert!((99..=100).contains(&hedged), "{hedged}");
    }
}
