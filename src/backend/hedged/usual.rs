//! How long a storage usually takes to begin its answer: a quantile of the latest ones, so that it follows the
//! storage's day. No I/O.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Answers that are remembered: enough for a 95th of a hundred, few enough to forget a bad minute.
const REMEMBERED: usize = 200;
/// Of fewer there is no telling what is usual.
const ENOUGH: usize = 20;
/// Below this the machine's own scheduling is what varies, and a second request wins nothing.
const LEAST: Duration = Duration::from_millis(5);

/// The latest answers of a storage.
#[derive(Debug, Default)]
pub(super) struct Usual(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    /// The oldest is written over once there are [`REMEMBERED`].
    took: Vec<Duration>,
    next: usize,
}

impl Usual {
    /// An answer's head came after so long.
    pub(super) fn took(&self, duration: Duration) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.took.len() < REMEMBERED {
            latest.took.push(duration);
            return;
        }
        let next = latest.next;
        latest.took[next] = duration;
        latest.next = (next + 1) % REMEMBERED;
    }

    /// What 95 of a hundred took no longer than; none as long as too few are known.
    pub(super) fn p95(&self) -> Option<Duration> {
        let mut took = {
            let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            latest.took.clone()
        };
        if took.len() < ENOUGH {
            return None;
        }
        // Less than REMEMBERED, and at least one.
        let at = (took.len() * 95).div_ceil(100) - 1;
        let (_, p95, _) = took.select_nth_unstable(at);
        Some((*p95).max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn nothing_is_usual_before_twenty_answers() {
        let usual = Usual::default();
        for _ in 1..ENOUGH {
            usual.took(ms(30));
        }
        assert_eq!(usual.p95(), None);
        usual.took(ms(30));
        assert_eq!(usual.p95(), Some(ms(30)));
    }

    #[test]
    fn five_slow_answers_of_a_hundred_are_not_usual_and_six_are() {
        let usual = Usual::default();
        for number in 0..100 {
            usual.took(if number % 20 == 0 { ms(900) } else { ms(30) });
        }
        assert_eq!(usual.p95(), Some(ms(30)));
        for _ in 0..2 {
            usual.took(ms(900));
        }
        assert_eq!(usual.p95(), Some(ms(900)));
    }

    #[test]
    fn what_was_usual_is_forgotten_when_the_storage_becomes_another() {
        let usual = Usual::default();
        for _ in 0..1000 {
            usual.took(ms(900));
        }
        for _ in 0..REMEMBERED {
            usual.took(ms(40));
        }
        assert_eq!(usual.p95(), Some(ms(40)));
    }

    #[test]
    fn a_storage_that_answers_at_once_is_given_five_milliseconds() {
        let usual = Usual::default();
        for _ in 0..ENOUGH {
            usual.took(Duration::from_micros(80));
        }
        assert_eq!(usual.p95(), Some(LEAST));
    }
}
