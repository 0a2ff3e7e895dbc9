//! What every request counts, each thread in a place of its own: a number that two processors add to travels between
//! them for each addition, and a request makes some twenty. Put together when the metrics are shown.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::local::{LocalHistogram, LocalIntCounter};

/// Places: more than there are threads that serve, on common machines. Where two share one, nothing is lost but time.
const PLACES: usize = 16;

/// One thread's counts since they were last put together.
pub(super) struct Counts {
    /// Begun less finished; below zero where requests began on other threads.
    pub(super) in_flight: i64,
    /// By place in the table of routes, methods and codes; as many as occur.
    pub(super) requests: Vec<(usize, LocalIntCounter)>,
    pub(super) request_duration: Vec<LocalHistogram>,
    pub(super) time_to_first_byte: Vec<LocalHistogram>,
    pub(super) response_bytes: LocalIntCounter,
    /// By tier, then result.
    pub(super) cache_requests: Vec<Vec<LocalIntCounter>>,
    pub(super) decisions: Vec<LocalIntCounter>,
    pub(super) access_duration: LocalHistogram,
}

impl Counts {
    fn flush(&self) {
        self.requests
            .iter()
            .for_each(|(_, counter)| counter.flush());
        let histograms = self.request_duration.iter();
        let histograms = histograms.chain(&self.time_to_first_byte);
        histograms.for_each(LocalHistogram::flush);
        self.access_duration.flush();
        let counters = self.cache_requests.iter().flatten();
        let counters = counters.chain(&self.decisions);
        counters.for_each(LocalIntCounter::flush);
        self.response_bytes.flush();
    }
}

/// The counts of all threads.
pub(super) struct Stripes(Box<[Stripe]>);

/// On cache lines of its own, the neighbour that processors fetch along included.
#[repr(align(128))]
struct Stripe(Mutex<Counts>);

impl Stripes {
    pub(super) fn new(counts: impl Fn() -> Counts) -> Self {
        let stripes = (0..PLACES).map(|_| Stripe(Mutex::new(counts())));
        Self(stripes.collect())
    }

    /// This thread's counts.
    pub(super) fn mine(&self) -> MutexGuard<'_, Counts> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Relaxed);
        }
        // A thread that is ending has no number any more.
        let thread = THREAD.try_with(|thread| *thread).unwrap_or_default();
        lock(&self.0[thread % PLACES])
    }

    /// Adds all counts to the metrics that they are of, and gives how many requests are in flight.
    pub(super) fn flush(&self) -> i64 {
        let counts = self.0.iter().map(lock);
        counts
            .map(|counts| {
                counts.flush();
                counts.in_flight
            })
            .sum()
    }
}

impl std::fmt::Debug for Stripes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stripes").finish_non_exhaustive()
    }
}

/// No code panics while it holds the lock.
fn lock(stripe: &Stripe) -> MutexGuard<'_, Counts> {
    stripe.0.lock().unwrap_or_else(PoisonError::into_inner)
}
