//! How hard `warm` pushes: one pause for all readers when storage or Lockgate asks for one, and a budget of second tries.
//!
//! Nobody waits for what is warmed, so it gives way at once and comes back slowly.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may be tried again before anything was read: a few objects, each a few times.
const TRIES_AT_START: f64 = 20.0;
/// What each object adds: a storage where every fifth request fails is ill, and is left alone.
const TRIES_PER_OBJECT: f64 = 0.2;
/// How often one object is asked for; what fails as often is left to another run.
pub const MAX_TRIES: u32 = 5;
/// The first pause where nobody says how long; the next is twice as long.
const BASE_PAUSE: Duration = Duration::from_millis(500);
/// Longer is not waited for, whatever is asked.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// The pace of one run.
#[derive(Debug)]
pub struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    until: Instant,
    budget: f64,
}

impl Pace {
    /// With nothing to wait for.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            until: now,
            budget: TRIES_AT_START,
        }))
    }

    /// A new object is about to be asked for.
    pub fn begin(&self) {
        self.with(|state| state.budget += TRIES_PER_OBJECT);
    }

    /// Waits until requests may be made.
    pub async fn turn(&self) {
        loop {
            // Another reader may have been told to wait for longer meanwhile.
            let until = self.with(|state| state.until);
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// After `tries` failed ones: everybody pauses, for as long as was asked; `false` where the budget is spent.
    pub fn again(&self, tries: u32, asked: Option<Duration>) -> bool {
        let doubled = BASE_PAUSE.saturating_mul(1 << tries.clamp(1, MAX_TRIES));
        // Up to a half more, so that several runs do not come back at once.
        let pause = asked
            .unwrap_or(doubled)
            .mul_f64(1.0 + fastrand::f64() / 2.0);
        let until = Instant::now() + pause.min(MAX_PAUSE);
        self.with(|state| {
            state.until = state.until.max(until);
            state.budget -= 1.0;
            state.budget >= 0.0
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_is_told_to_wait_makes_all_wait() {
        let begun = Instant::now();
        let pace = Pace::new(begun);
        let until = || pace.with(|state| state.until) - begun;
        assert_eq!(until(), Duration::ZERO);
        assert!(pace.again(1, Some(Duration::from_secs(7))));
        let told = until();
        assert!(told >= Duration::from_secs(7), "{told:?}");
        // A shorter one does not end the longer.
        assert!(pace.again(1, None));
        assert_eq!(until(), told);
        assert!(pace.again(1, Some(Duration::from_secs(86_400))));
        assert!(until() < Duration::from_secs(2 * MAX_PAUSE.as_secs()));
    }

    #[test]
    fn an_ill_storage_is_given_up_and_one_that_stumbles_is_not() {
        let pace = Pace::new(Instant::now());
        let granted = (0..100).filter(|_| pace.again(1, None)).count();
        assert_eq!(granted, TRIES_AT_START as usize);
        let pace = Pace::new(Instant::now());
        let all = (0..1000).all(|number| {
            pace.begin();
            number % 10 != 0 || pace.again(1, None)
        });
        assert!(all);
    }
}
