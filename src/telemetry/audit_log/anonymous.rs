//! How many denials of nobody known are written: so many a minute, and then how many were not.
//!
//! Never counts anybody who was authenticated: what they were refused is written each time.

use std::time::{Duration, Instant};

/// Lines of it in [`MINUTE`]: enough to see that somebody tries, and what; some 30 MiB a day.
pub(super) const ANONYMOUS_PER_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// The present minute, and what was left out since it was last said.
#[derive(Debug)]
pub(super) struct Anonymous {
    since: Instant,
    written: u32,
    omitted: u64,
}

impl Anonymous {
    pub(super) fn since(now: Instant) -> Self {
        Self {
            since: now,
            written: 0,
            omitted: 0,
        }
    }

    /// Whether this one is written. What is not is counted.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            // What it left out stays, until it is said.
            (self.since, self.written) = (now, 0);
        }
        let admitted = self.written < ANONYMOUS_PER_MINUTE;
        self.written += u32::from(admitted);
        self.omitted += u64::from(!admitted);
        admitted
    }

    /// What a minute that is over left out: to be said.
    pub(super) fn take_past(&mut self, now: Instant) -> u64 {
        // A minute that has left out none so far has the one before it to tell of.
        let past = self.is_over(now) || self.written < ANONYMOUS_PER_MINUTE;
        if past { self.take_all() } else { 0 }
    }

    /// The same, without waiting for the minute's end.
    pub(super) fn take_all(&mut self) -> u64 {
        std::mem::take(&mut self.omitted)
    }

    /// It could not be said.
    pub(super) fn put_back(&mut self, count: u64) {
        self.omitted += count;
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_has_its_lines_and_then_says_once_how_many_it_left_out() {
        let start = Instant::now();
        let mut anonymous = Anonymous::since(start);
        for minute in 0..3 {
            let now = start + MINUTE * minute;
            let written = (0..100).filter(|_| anonymous.admit(now)).count();
            assert_eq!(written, 60);
            assert_eq!(anonymous.take_past(now), 0, "the minute is not over");
            assert_eq!(anonymous.take_past(now + MINUTE), 40);
            assert_eq!(anonymous.take_past(now + MINUTE), 0);
        }
        let now = start + MINUTE * 3;
        assert_eq!((0..61).filter(|_| anonymous.admit(now)).count(), 60);
        assert!(anonymous.admit(now + MINUTE));
        assert_eq!(anonymous.take_past(now + MINUTE), 1);
        anonymous.put_back(1);
        assert_eq!(anonymous.take_all(), 1);
    }
}
