//! What is remembered of a storage that gave no answer: for a moment, so that who can be served without it does not
//! wait for the same time-out again (RFC 5861 §4).
//!
//! Does no I/O. Whoever is told that storage is down may be asked to try it in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::BackendError;

/// A failure is believed this long after the last try; then somebody waits for storage again.
const MEMORY: Duration = Duration::from_secs(5);
/// How often storage is tried meanwhile: this bounds how long what is back is taken for down.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Tries under way: each may take a whole stall time-out, and holds a slot that a reader could have.
const MAX_TRIES: usize = 8;

/// Whether one storage is down; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    failure: Option<Failure>,
    trying: usize,
}

#[derive(Debug)]
struct Failure {
    error: BackendError,
    at: Instant,
    tried_at: Instant,
}

/// The duty to try storage; it is given up when this is dropped.
#[derive(Debug)]
pub struct Trial(Outage);

impl Outage {
    /// What storage answered: no answer is an outage, and any answer the end of one.
    pub fn heard<T>(&self, answer: &Result<T, BackendError>) {
        self.heard_at(Instant::now(), answer.as_ref().err());
    }

    /// Why storage is down, as far as is known.
    pub fn known(&self) -> Option<BackendError> {
        self.known_at(Instant::now())
    }

    /// Whether it is time to try a storage that is down.
    pub fn trial(&self) -> Option<Trial> {
        self.trial_at(Instant::now())
    }

    fn heard_at(&self, now: Instant, error: Option<&BackendError>) {
        let mut state = self.state();
        match error.filter(|error| error.is_outage()) {
            None => state.failure = None,
            Some(error) => {
                let tried_at = state.failure.as_ref().map_or(now, |known| known.tried_at);
                let error = error.clone();
                state.failure = Some(Failure {
                    error,
                    at: now,
                    tried_at,
                });
            }
        }
    }

    fn known_at(&self, now: Instant) -> Option<BackendError> {
        let state = self.state();
        let failure = state.failure.as_ref()?;
        let is_recent = now.saturating_duration_since(failure.at) < MEMORY;
        (is_recent || state.trying > 0).then(|| failure.error.clone())
    }

    fn trial_at(&self, now: Instant) -> Option<Trial> {
        let mut state = self.state();
        if state.trying >= MAX_TRIES {
            return None;
        }
        let failure = state.failure.as_mut()?;
        if now.saturating_duration_since(failure.tried_at) < TRY_EVERY {
            return None;
        }
        failure.tried_at = now;
        state.trying += 1;
        Some(Trial(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.state().trying -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> BackendError {
        BackendError::Unavailable("planted".into())
    }

    #[test]
    fn a_failure_is_known_for_a_moment_and_forgotten_by_any_answer() {
        let (outage, now) = (Outage::default(), Instant::now());
        assert!(outage.known_at(now).is_none());
        outage.heard_at(now, Some(&down()));
        assert!(outage.known_at(now + MEMORY / 2).is_some());
        assert!(outage.known_at(now + MEMORY).is_none());
        for answer in [None, Some(&BackendError::NotFound)] {
            outage.heard_at(now, Some(&down()));
            outage.heard_at(now, answer);
            assert!(outage.known_at(now).is_none());
        }
    }

    #[test]
    fn storage_that_is_down_is_tried_once_a_second_and_known_while_it_is_tried() {
        let (outage, now) = (Outage::default(), Instant::now());
        assert!(outage.trial_at(now).is_none(), "nothing is wrong");
        outage.heard_at(now, Some(&down()));
        assert!(outage.trial_at(now).is_none(), "it has just been tried");
        let later = now + TRY_EVERY;
        let trial = outage.trial_at(later).expect("a second is over");
        assert!(outage.trial_at(later).is_none(), "one is enough");
        assert!(outage.known_at(now + 2 * MEMORY).is_some());
        drop(trial);
        assert!(outage.known_at(now + 2 * MEMORY).is_none());
    }

    #[test]
    fn tries_that_hang_do_not_pile_up() {
        let (outage, now) = (Outage::default(), Instant::now());
        outage.heard_at(now, Some(&down()));
        let trials = (1..100u32).filter_map(|n| outage.trial_at(now + n * TRY_EVERY));
        assert_eq!(trials.collect::<Vec<_>>().len(), MAX_TRIES);
    }
}
