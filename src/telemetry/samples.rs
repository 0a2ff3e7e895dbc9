//! The last quarter of an hour of what is counted, for people who look: a ring of readings, taken from time to time.
//!
//! Counts nothing itself: whoever takes a reading asks the metrics. In memory alone; some 100 KB, and as much for each
//! storage.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::labels::Tier;
use super::metrics::Reading;
use crate::ids::StorageId;

/// How often a reading is taken.
pub const EVERY: Duration = Duration::from_secs(3);
/// Readings kept: a quarter of an hour, and the one before it.
const KEPT: usize = 301;
/// A point of a plot is about so many readings, so that a few requests make no comb of it.
const SMOOTHED: usize = 5;
/// Latencies and rates in figures are about five minutes.
const RECENT: usize = 100;

/// The ring.
#[derive(Debug, Default)]
pub struct Samples(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    readings: VecDeque<Reading>,
    /// When each storage was last seen to have answered, as closely as readings are taken.
    answered: BTreeMap<StorageId, SystemTime>,
}

/// What goes up and down, a number for each point; null where there was nothing.
#[derive(Debug, Default, Serialize)]
pub struct Series {
    /// Seconds between two points.
    pub every: f64,
    /// Bytes a second to clients.
    pub sent: Vec<f64>,
    /// Bytes a second from storage.
    pub fetched: Vec<f64>,
    /// Requests a second.
    pub requests: Vec<f64>,
    /// Denials a second.
    pub denials: Vec<f64>,
    /// The part of look-ups that cost storage no request, by tier.
    pub hits: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// To the first byte, in seconds: one half was faster.
    pub first_byte_p50: Vec<Option<f64>>,
    /// All but one of a hundred were faster.
    pub first_byte_p99: Vec<Option<f64>>,
}

/// Of the last minutes, in figures.
#[derive(Debug, Default, Serialize)]
pub struct Recent {
    /// Over how many seconds.
    pub seconds: f64,
    /// Requests answered.
    pub requests: u64,
    /// Those with a status from 500 on.
    pub errors: u64,
    /// Denials.
    pub denials: u64,
    /// To the first byte, in seconds.
    pub first_byte_p50: Option<f64>,
    /// The same, all but one of a hundred.
    pub first_byte_p99: Option<f64>,
    /// The part of look-ups that cost storage no request, by tier.
    pub hits: BTreeMap<&'static str, Option<f64>>,
}

/// Of one storage in the last minutes.
#[derive(Debug, Default, Serialize)]
pub struct RecentStorage {
    /// Requests that it answered.
    pub answers: u64,
    /// Requests that it did not.
    pub failures: u64,
    /// To the head of an answer, in seconds.
    pub p50: Option<f64>,
    /// The same, all but one of a hundred.
    pub p99: Option<f64>,
}

impl Samples {
    /// Keeps a reading, and forgets the oldest.
    pub fn take(&self, reading: Reading) {
        let mut state = self.state();
        let state = &mut *state;
        for (id, storage) in &reading.storages {
            let before = state.readings.back().and_then(|it| it.storages.get(id));
            if storage.answers > before.map_or(0, |before| before.answers) {
                state.answered.insert(id.clone(), SystemTime::now());
            }
        }
        if state.readings.len() >= KEPT {
            state.readings.pop_front();
        }
        state.readings.push_back(reading);
    }

    /// The newest reading.
    pub fn newest(&self) -> Option<Reading> {
        self.state().readings.back().cloned()
    }

    /// When a storage last answered; none: not since the process began.
    pub fn answered(&self, storage: &StorageId) -> Option<SystemTime> {
        self.state().answered.get(storage).copied()
    }

    /// The last minutes in figures.
    pub fn recent(&self) -> Recent {
        let state = self.state();
        let Some((then, now)) = state.span(RECENT) else {
            return Recent::default();
        };
        let tiers = Tier::ALL.iter();
        Recent {
            seconds: seconds(then, now),
            requests: now.requests.saturating_sub(then.requests),
            errors: now.errors.saturating_sub(then.errors),
            denials: now.denials.saturating_sub(then.denials),
            first_byte_p50: now.first_byte.quantile_since(&then.first_byte, 0.5),
            first_byte_p99: now.first_byte.quantile_since(&then.first_byte, 0.99),
            hits: tiers
                .map(|tier| (tier.as_str(), hits(*tier, then, now)))
                .collect(),
        }
    }

    /// A storage in the last minutes.
    pub fn recent_storage(&self, id: &StorageId) -> RecentStorage {
        let state = self.state();
        let Some((then, now)) = state.span(RECENT) else {
            return RecentStorage::default();
        };
        let Some(now) = now.storages.get(id) else {
            return RecentStorage::default();
        };
        let then = then.storages.get(id).cloned().unwrap_or_default();
        RecentStorage {
            answers: now.answers.saturating_sub(then.answers),
            failures: now.failures.saturating_sub(then.failures),
            p50: now.heads.quantile_since(&then.heads, 0.5),
            p99: now.heads.quantile_since(&then.heads, 0.99),
        }
    }

    /// Everything that is plotted.
    pub fn series(&self) -> Series {
        let state = self.state();
        let mut series = Series {
            every: EVERY.as_secs_f64(),
            ..Series::default()
        };
        for (index, now) in state.readings.iter().enumerate().skip(1) {
            let then = &state.readings[index.saturating_sub(SMOOTHED)];
            series.push(then, now);
        }
        series
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The newest reading, and the one so many before it, or the oldest.
    fn span(&self, readings: usize) -> Option<(&Reading, &Reading)> {
        let newest = self.readings.len().checked_sub(1)?;
        let then = &self.readings[newest.saturating_sub(readings)];
        Some((then, &self.readings[newest]))
    }
}

impl Series {
    fn push(&mut self, then: &Reading, now: &Reading) {
        let seconds = seconds(then, now);
        let rate = |then: u64, now: u64| now.saturating_sub(then) as f64 / seconds;
        let fetched = |reading: &Reading| reading.storages.values().map(|it| it.bytes).sum();
        self.sent.push(rate(then.sent, now.sent));
        self.fetched.push(rate(fetched(then), fetched(now)));
        self.requests.push(rate(then.requests, now.requests));
        self.denials.push(rate(then.denials, now.denials));
        for tier in Tier::ALL {
            let points = self.hits.entry(tier.as_str()).or_default();
            points.push(hits(*tier, then, now));
        }
        let first_byte = |quantile| now.first_byte.quantile_since(&then.first_byte, quantile);
        self.first_byte_p50.push(first_byte(0.5));
        self.first_byte_p99.push(first_byte(0.99));
    }
}

/// Never nothing: two readings in one tick of the clock are a rate all the same.
fn seconds(then: &Reading, now: &Reading) -> f64 {
    now.at.duration_since(then.at).as_secs_f64().max(0.001)
}

fn hits(tier: Tier, then: &Reading, now: &Reading) -> Option<f64> {
    let (asked_then, spared_then) = then.tiers[tier.index()];
    let (asked, spared) = now.tiers[tier.index()];
    let asked = asked.saturating_sub(asked_then);
    let spared = spared.saturating_sub(spared_then);
    (asked > 0).then(|| spared as f64 / asked as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{CacheResult, Metrics, Operation, Outcome};

    #[test]
    fn a_point_is_a_rate_and_the_oldest_is_forgotten() {
        let (metrics, samples) = (Metrics::new().unwrap(), Samples::default());
        let begun = metrics.read().at;
        for n in 0..KEPT as u32 + 9 {
            metrics.storage_bytes(&"scans".into(), 3000);
            let mut reading = metrics.read();
            reading.at = begun + n * EVERY;
            samples.take(reading);
        }
        let series = samples.series();
        assert_eq!(series.fetched.len(), KEPT - 1);
        assert!(
            series
                .fetched
                .iter()
                .all(|rate| (*rate - 1000.0).abs() < 1.0)
        );
        assert_eq!(series.sent, vec![0.0; KEPT - 1]);
        assert!(series.hits["memory"].iter().all(Option::is_none));
    }

    #[test]
    fn figures_are_of_the_last_minutes_and_not_of_all_time() {
        let (metrics, samples) = (Metrics::new().unwrap(), Samples::default());
        let storage = StorageId::from("scans");
        let count = |result, outcome, times| {
            for _ in 0..times {
                metrics.cache_request(Tier::Memory, result);
                metrics.storage_request(&storage, Operation::Get, outcome, EVERY);
            }
        };
        count(CacheResult::Miss, Outcome::Unavailable, 50);
        for _ in 0..=RECENT {
            samples.take(metrics.read());
        }
        assert_eq!(samples.recent().hits["memory"], None);
        assert!(samples.answered(&storage).is_none());
        count(CacheResult::Hit, Outcome::Ok, 3);
        count(CacheResult::Miss, Outcome::TimedOut, 1);
        samples.take(metrics.read());
        assert_eq!(samples.recent().hits["memory"], Some(0.75));
        let recent = samples.recent_storage(&storage);
        assert_eq!((recent.answers, recent.failures), (3, 1));
        assert!(recent.p50.is_some() && samples.answered(&storage).is_some());
        assert_eq!(samples.recent_storage(&"other".into()).answers, 0);
    }
}
