//! The same question asked once: whoever comes while it is being answered shares the answer.
//!
//! The work runs in a task of its own, so that it outlives the one who asked first; it can tell when nobody is left
//! who waits for it, and give itself up before it costs anything.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use super::tasks::Tasks;

type Answer<V> = Shared<BoxFuture<'static, Option<V>>>;
type Flights<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

struct Flight<V> {
    answer: Answer<V>,
    interest: Interest,
}

/// How many wait for a flight.
#[derive(Clone, Debug, Default)]
pub struct Interest(Arc<AtomicUsize>);

impl Interest {
    /// Whether anybody still waits.
    pub fn is_alive(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    fn join(&self) -> Waiting {
        self.0.fetch_add(1, Ordering::AcqRel);
        Waiting(self.clone())
    }
}

/// One who waits, until it is dropped.
struct Waiting(Interest);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Questions under way, by key.
pub struct SingleFlight<K, V> {
    flights: Flights<K, V>,
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self {
            flights: Flights::default(),
        }
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The answer to `key`: `work`'s, or that of a flight already under way. `None` where the work gave itself up or
    /// broke down. The second value is true for the one whose work it was.
    pub async fn run<F>(
        &self,
        tasks: &Tasks,
        key: K,
        work: impl FnOnce(Interest) -> F,
    ) -> (Option<V>, bool)
    where
        F: Future<Output = Option<V>> + Send + 'static,
    {
        let (answer, _waiting, leads) = {
            let mut flights = lock(&self.flights);
            match flights.get(&key) {
                Some(flight) => (flight.answer.clone(), flight.interest.join(), false),
                None => {
                    let (sender, receiver) = oneshot::channel();
                    let answer: Answer<V> = receiver
                        .map(|answer| answer.ok().flatten())
                        .boxed()
                        .shared();
                    let interest = Interest::default();
                    let waiting = interest.join();
                    flights.insert(
                        key.clone(),
                        Flight {
                            answer: answer.clone(),
                            interest: interest.clone(),
                        },
                    );
                    let landing = Landing {
                        flights: self.flights.clone(),
                        key,
                    };
                    let work = work(interest);
                    tasks.spawn(async move {
                        let value = work.await;
                        drop(landing);
                        // Everybody who asked may have left; then nobody is told.
                        let _ = sender.send(value);
                    });
                    (answer, waiting, true)
                }
            }
        };
        (answer.await, leads)
    }

    /// Whether this question is under way.
    #[cfg(test)]
    pub fn has(&self, key: &K) -> bool {
        lock(&self.flights).contains_key(key)
    }
}

/// Takes the flight off the board, also when its work panics or is cancelled.
struct Landing<K: Eq + Hash, V: Clone> {
    flights: Flights<K, V>,
    key: K,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

fn lock<K, V>(flights: &Mutex<HashMap<K, Flight<V>>>) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}
