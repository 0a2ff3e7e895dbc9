//! Answers remembered, and questions asked once: who asks while the same question is under way waits for its answer.
//!
//! An answer's age counts from when its question was put, so that what changed while it was under way counts as well.
//! Knows no HTTP and no people; bounded in bytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, WeakShared};
use moka::sync::Cache;

/// Tells the time; another one than the system's in tests.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(Instant::now)
}

/// What bounds a [`Memo`].
pub struct Bounds<K, V> {
    /// What its answers may take together, in bytes.
    pub capacity: u64,
    /// How long an answer is kept at most, whoever would still take it.
    pub kept: Duration,
    /// What an answer takes, about, in bytes.
    pub weigh: fn(&K, &V) -> u32,
}

/// An answer, and when its question was put.
#[derive(Clone, Debug)]
pub struct Remembered<V> {
    /// What was said.
    pub value: V,
    /// When it was asked.
    pub asked_at: Instant,
}

/// Answers by question.
pub struct Memo<K, V> {
    inner: Arc<Inner<K, V>>,
    clock: Clock,
}

struct Inner<K, V> {
    answers: Cache<K, Remembered<V>>,
    under_way: Mutex<HashMap<K, UnderWay<V>>>,
}

struct UnderWay<V> {
    asked_at: Instant,
    /// Dropped, and so given up, when nobody waits any more.
    answer: WeakShared<BoxFuture<'static, Remembered<V>>>,
}

impl<K, V> Memo<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty memory.
    pub fn new(bounds: Bounds<K, V>, clock: Clock) -> Self {
        let weigh = bounds.weigh;
        let answers = Cache::builder()
            .max_capacity(bounds.capacity)
            .time_to_live(bounds.kept)
            .weigher(move |key: &K, answer: &Remembered<V>| weigh(key, &answer.value))
            .build();
        let under_way = Mutex::default();
        Self {
            inner: Arc::new(Inner { answers, under_way }),
            clock,
        }
    }

    /// What is remembered of a question, of whatever age.
    pub fn recall(&self, key: &K) -> Option<Remembered<V>> {
        self.inner.answers.get(key)
    }

    /// Whether an answer may still be given out: `holds` says for how long.
    pub fn is_fresh(&self, answer: &Remembered<V>, holds: Duration) -> bool {
        (self.clock)().saturating_duration_since(answer.asked_at) < holds
    }

    /// The answer: remembered where it still holds, the one under way where its question was put less than `join` ago,
    /// else a new one.
    pub async fn ask<F>(
        &self,
        key: K,
        holds: impl Fn(&V) -> Duration,
        join: Duration,
        question: impl FnOnce() -> F,
    ) -> Remembered<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        if let Some(answer) = self.recall(&key)
            && self.is_fresh(&answer, holds(&answer.value))
        {
            return answer;
        }
        let now = (self.clock)();
        let answer = {
            let mut under_way = lock(&self.inner.under_way);
            let joined = under_way
                .get(&key)
                .filter(|other| now.saturating_duration_since(other.asked_at) < join)
                .and_then(|other| other.answer.upgrade());
            match joined {
                Some(joined) => joined,
                None => {
                    let put = self.put(key.clone(), now, question());
                    if let Some(answer) = put.downgrade() {
                        let asked_at = now;
                        under_way.insert(key, UnderWay { asked_at, answer });
                    }
                    put
                }
            }
        };
        answer.await
    }

    fn put<F>(
        &self,
        key: K,
        asked_at: Instant,
        question: F,
    ) -> futures_util::future::Shared<BoxFuture<'static, Remembered<V>>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let inner = self.inner.clone();
        // Made here and not when it is first polled: a question that nobody polled is forgotten all the same.
        let ends = Ends {
            inner: inner.clone(),
            key: key.clone(),
            asked_at,
        };
        let asked = async move {
            let _ends = ends;
            let value = question.await;
            let answer = Remembered { value, asked_at };
            inner.answers.insert(key, answer.clone());
            // Else what is put out for it waits for the next dozens of answers, beside them, and each may be large.
            inner.answers.run_pending_tasks();
            answer
        };
        asked.boxed().shared()
    }
}

/// Takes a question off the list when it ends, answered or given up.
struct Ends<K: Hash + Eq, V> {
    inner: Arc<Inner<K, V>>,
    key: K,
    asked_at: Instant,
}

impl<K: Hash + Eq, V> Drop for Ends<K, V> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.inner.under_way);
        // Another may stand in its place, put later because this one was too old to be joined.
        if under_way
            .get(&self.key)
            .is_some_and(|own| own.asked_at == self.asked_at)
        {
            under_way.remove(&self.key);
        }
    }
}

/// A panic while it was held left a list of questions, nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    const HOLDS: Duration = Duration::from_secs(5);

    struct Fixture {
        memo: Memo<&'static str, u32>,
        seconds: Arc<AtomicU64>,
        asked: Arc<AtomicU32>,
        go: Arc<Notify>,
    }

    fn fixture() -> Fixture {
        let seconds = Arc::new(AtomicU64::new(0));
        let (began, told) = (Instant::now(), seconds.clone());
        let clock: Clock =
            Arc::new(move || began + Duration::from_secs(told.load(Ordering::Relaxed)));
        let bounds = Bounds {
            capacity: 1 << 20,
            kept: Duration::from_secs(3600),
            weigh: |_, _| 100,
        };
        Fixture {
            memo: Memo::new(bounds, clock),
            seconds,
            asked: Arc::default(),
            go: Arc::default(),
        }
    }

    impl Fixture {
        /// Counted; answers with its number when it is let go.
        async fn ask(&self, key: &'static str, holds: Duration) -> u32 {
            let question = || {
                let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
                let go = self.go.clone();
                async move {
                    go.notified().await;
                    number
                }
            };
            self.memo.ask(key, |_| holds, holds, question).await.value
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn who_asks_while_it_is_under_way_waits_for_the_one_answer() {
        let it = fixture();
        let (answers, ()) = tokio::join!(join_all((0..20).map(|_| it.ask("a", HOLDS))), async {
            it.go.notify_one()
        });
        assert_eq!((answers, it.asked()), (vec![1; 20], 1));
        assert!(lock(&it.memo.inner.under_way).is_empty());
    }

    #[tokio::test]
    async fn an_answer_holds_for_its_time_and_then_is_asked_for_again() {
        let it = fixture();
        for (at, expected) in [(0, 1), (4, 1), (5, 2), (9, 2), (10, 3)] {
            it.seconds.store(at, Ordering::Relaxed);
            it.go.notify_one();
            assert_eq!(it.ask("a", HOLDS).await, expected, "at {at}");
        }
    }

    #[tokio::test]
    async fn nothing_is_remembered_or_joined_for_no_time() {
        let it = fixture();
        let both = async { tokio::join!(it.ask("a", Duration::ZERO), it.ask("a", Duration::ZERO)) };
        let (answers, ()) = tokio::join!(both, async {
            it.go.notify_one();
            it.go.notify_waiters();
        });
        assert_eq!(it.asked(), 2, "{answers:?}");
    }

    #[tokio::test]
    async fn a_question_that_is_older_than_an_answer_may_be_is_not_joined() {
        let it = fixture();
        let (answers, ()) = tokio::join!(
            async {
                let late = async {
                    it.seconds.store(5, Ordering::Relaxed);
                    it.ask("a", HOLDS).await
                };
                tokio::join!(it.ask("a", HOLDS), late)
            },
            async {
                it.go.notify_waiters();
                it.go.notify_waiters();
            }
        );
        assert_eq!((answers, it.asked()), ((1, 2), 2));
    }

    #[tokio::test]
    async fn a_question_nobody_waits_for_is_given_up_and_leaves_nothing() {
        let it = fixture();
        let gone = tokio::time::timeout(Duration::from_millis(1), it.ask("a", HOLDS)).await;
        assert!(gone.is_err());
        assert!(lock(&it.memo.inner.under_way).is_empty());
        it.go.notify_one();
        assert_eq!(it.ask("a", HOLDS).await, 2);
    }
}
