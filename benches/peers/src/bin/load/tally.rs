//! What came of it, as numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Counted by each connection, added up at the end.
#[derive(Default)]
pub struct Tally {
    pub requests: u64,
    pub bytes: u64,
    /// Connections that broke, heads that are none.
    pub errors: u64,
    /// Answers of another status or length, or with other bytes.
    pub wrong: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub first_bytes: Vec<Duration>,
    pub wholes: Vec<Duration>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.wrong += other.wrong;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.first_bytes.extend(other.first_bytes);
        self.wholes.extend(other.wholes);
    }

    pub fn done(self, seconds: f64) -> Done {
        Done {
            requests: self.requests,
            bytes: self.bytes,
            errors: self.errors,
            wrong: self.wrong,
            statuses: self.statuses,
            seconds,
            first_byte_ms: Quantiles::of(self.first_bytes),
            whole_ms: Quantiles::of(self.wholes),
        }
    }
}

/// As it is printed.
#[derive(Serialize)]
pub struct Done {
    requests: u64,
    bytes: u64,
    errors: u64,
    wrong: u64,
    statuses: BTreeMap<u16, u64>,
    seconds: f64,
    /// From the request to the first byte of its answer.
    first_byte_ms: Quantiles,
    /// From the request to the last byte.
    whole_ms: Quantiles,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

impl Quantiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            let time = times.get(index).or(times.last());
            time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}
