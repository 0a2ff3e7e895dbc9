//! Second requests to a storage that does as it is told, one step a request.

use std::collections::VecDeque;
use std::sync::Weak;

use tokio::sync::Semaphore;

use super::*;
use crate::backend::Condition;
use crate::object::{ETag, ObjectLocation};

/// What comes of one request.
enum Step {
    /// An answer of this version.
    Answer(&'static str),
    /// An answer, after longer than a second request is waited for.
    Slow,
    /// An answer, once a second request was sent.
    Late,
    /// Nothing, as long as it is asked.
    Stall,
    /// An error, once somebody lets it.
    Fail(BackendError, Arc<Semaphore>),
}

#[derive(Default)]
struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<(Condition, Range<u64>)>>,
    /// What each request under way holds.
    held: Mutex<Vec<Weak<()>>>,
}

impl Scripted {
    fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.lock().unwrap().extend(steps);
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn under_way(&self) -> usize {
        let held = self.held.lock().unwrap();
        held.iter().filter(|held| held.strong_count() > 0).count()
    }
}

#[async_trait]
impl Backend for Arc<Scripted> {
    async fn head(&self, _: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        unreachable!("nobody asks")
    }

    async fn get(&self, call: Call<'_>, range: Range<u64>) -> Answer {
        let memory = Arc::new(());
        self.held.lock().unwrap().push(Arc::downgrade(&memory));
        self.asked.lock().unwrap().push((call.condition, range));
        let step = self.steps.lock().unwrap().pop_front();
        match step.expect("a step for each request") {
            Step::Answer(tag) => Ok(answer(tag)),
            Step::Slow => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(answer("slow"))
            }
            Step::Late => {
                while self.count() < 2 {
                    tokio::task::yield_now().await;
                }
                Ok(answer("late"))
            }
            Step::Stall => std::future::pending().await,
            Step::Fail(error, permits) => {
                permits.acquire().await.unwrap().forget();
                Err(error)
            }
        }
    }

    async fn list(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page, BackendError> {
        unreachable!("nobody asks")
    }
}

fn answer(tag: &str) -> Conditional<Fetched> {
    Conditional::Is(Fetched {
        meta: ObjectMeta {
            etag: ETag::strong(tag).unwrap(),
            complete_length: 10,
            last_modified: None,
            content_type: None,
            content_encoding: None,
        },
        range: 0..10,
        body: Box::pin(futures_util::stream::empty()),
    })
}

/// One that hedges after a millisecond, once it has the budget for `hedges`.
fn hedged(hedges: usize) -> (Arc<Scripted>, Hedged<Arc<Scripted>>) {
    let storage = Arc::new(Scripted::default());
    let after = Hedge::After(Duration::from_millis(1));
    let metrics = Arc::new(Metrics::new().unwrap());
    let hedged = Hedged::new(storage.clone(), after, "s".into(), metrics);
    for _ in 0..hedges * 20 {
        hedged.hedges.deposit();
    }
    (storage, hedged)
}

/// The tag of what a read brings.
async fn get(backend: &impl Backend) -> Result<String, BackendError> {
    let location = ObjectLocation {
        storage: "s".into(),
        epoch: 1,
        bucket: "b".into(),
        key: "k".into(),
    };
    let pinned = Condition::IfMatch(ETag::strong("v1").unwrap());
    let call = Call::about(&location).on(pinned);
    match backend.get(call, 0..10).await? {
        Conditional::Is(fetched) => Ok(fetched.meta.etag.to_string()),
        Conditional::NotModified => panic!("not modified"),
    }
}

fn counted(hedged: &Hedged<Arc<Scripted>>, outcome: &str) -> bool {
    let line = format!("lockgate_storage_hedged_total{{outcome=\"{outcome}\",storage=\"s\"}} 1");
    let text = hedged.metrics.render().unwrap();
    text.lines().any(|shown| shown == line)
}

#[tokio::test]
async fn the_second_answers_the_same_question_when_the_first_stalls_and_the_first_is_let_go() {
    let (storage, hedged) = hedged(1);
    storage.then([Step::Stall, Step::Answer("v1")]);
    assert_eq!(get(&hedged).await.unwrap(), "\"v1\"");
    {
        let asked = storage.asked.lock().unwrap();
        assert!(asked.len() == 2 && asked[0] == asked[1]);
    }
    assert_eq!(storage.under_way(), 0);
    assert!(counted(&hedged, "won"));
}

#[tokio::test]
async fn the_second_is_let_go_when_the_first_answers_after_all() {
    let (storage, hedged) = hedged(1);
    storage.then([Step::Late, Step::Stall]);
    assert_eq!(get(&hedged).await.unwrap(), "\"late\"");
    assert_eq!((storage.count(), storage.under_way()), (2, 0));
    assert!(counted(&hedged, "lost"));
}

#[tokio::test]
async fn both_are_let_go_with_whoever_asked() {
    let (storage, hedged) = hedged(1);
    storage.then([Step::Stall, Step::Stall]);
    {
        let mut asked = pin!(get(&hedged));
        while storage.count() < 2 {
            let moment = Duration::from_millis(1);
            assert!(timeout(moment, &mut asked).await.is_err());
        }
        assert_eq!(storage.under_way(), 2);
    }
    assert_eq!(storage.under_way(), 0);
    assert!(counted(&hedged, "lost"));
}

#[tokio::test]
async fn one_request_in_twenty_is_sent_twice_and_no_other() {
    let (storage, hedged) = hedged(0);
    let slow = || std::iter::repeat_with(|| Step::Slow).take(19);
    storage.then(slow());
    storage.then([Step::Stall, Step::Answer("v1")]);
    storage.then(slow());
    for _ in 0..19 + 1 + 19 {
        get(&hedged).await.unwrap();
    }
    assert_eq!(storage.count(), 19 + 2 + 19);
}

#[tokio::test]
async fn none_is_sent_while_storage_throttles_or_fails() {
    for error in [
        BackendError::throttled("slow down"),
        BackendError::Unavailable("503".into()),
        BackendError::TimedOut("no answer"),
    ] {
        let (storage, hedged) = hedged(5);
        let at_once = Arc::new(Semaphore::new(1));
        storage.then([Step::Fail(error, at_once), Step::Slow]);
        get(&hedged).await.unwrap_err();
        get(&hedged).await.unwrap();
        assert_eq!(storage.count(), 2);
    }
}

#[tokio::test]
async fn none_is_sent_where_the_budget_of_second_tries_is_spent() {
    let (storage, hedged) = hedged(5);
    while hedged.retries.withdraw() {}
    storage.then([Step::Slow]);
    get(&hedged).await.unwrap();
    assert_eq!(storage.count(), 1);
}

#[tokio::test]
async fn none_is_sent_before_it_is_known_what_is_usual() {
    let (storage, mut hedged) = hedged(5);
    hedged.hedge = Hedge::P95;
    storage.then([Step::Slow]);
    get(&hedged).await.unwrap();
    assert_eq!(storage.count(), 1);
}

#[tokio::test]
async fn what_fails_for_a_moment_leaves_the_word_to_the_other() {
    // The first fails once the second is under way.
    let (storage, backend) = hedged(1);
    let fails = Arc::new(Semaphore::new(0));
    let error = BackendError::throttled("slow down");
    storage.then([Step::Fail(error.clone(), fails.clone()), Step::Slow]);
    let let_it = async {
        while storage.count() < 2 {
            tokio::task::yield_now().await;
        }
        fails.add_permits(1);
    };
    let (answer, ()) = tokio::join!(get(&backend), let_it);
    assert_eq!(answer.unwrap(), "\"slow\"");
    assert!(counted(&backend, "won"));
    // The second fails at once.
    let (storage, backend) = hedged(1);
    let at_once = Arc::new(Semaphore::new(1));
    storage.then([Step::Late, Step::Fail(error, at_once)]);
    assert_eq!(get(&backend).await.unwrap(), "\"late\"");
    assert!(counted(&backend, "lost"));
}

#[tokio::test]
async fn what_storage_decides_is_no_less_its_word_for_coming_second() {
    let (storage, hedged) = hedged(1);
    let at_once = Arc::new(Semaphore::new(1));
    storage.then([Step::Stall, Step::Fail(BackendError::Changed, at_once)]);
    assert!(matches!(get(&hedged).await, Err(BackendError::Changed)));
    assert_eq!(storage.under_way(), 0);
}

/// An outage that storage says lasts a minute is not made shorter by who says nothing of it.
#[tokio::test]
async fn the_longest_pause_that_storage_asks_for_holds() {
    let minute = BackendError::Throttled {
        said: "slow down".into(),
        retry_after: Some(Duration::from_secs(60)),
    };
    let (storage, backend) = hedged(1);
    let (first, second) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    storage.then([
        Step::Fail(minute, first.clone()),
        Step::Fail(BackendError::Unavailable("503".into()), second.clone()),
    ]);
    let let_them = async {
        while storage.count() < 2 {
            tokio::task::yield_now().await;
        }
        first.add_permits(1);
        second.add_permits(1);
    };
    let (answer, ()) = tokio::join!(get(&backend), let_them);
    let asked_for = answer.unwrap_err().retry_after();
    assert_eq!(asked_for, Some(Duration::from_secs(60)));
    let until = backend.strained_until.lock().unwrap().unwrap();
    assert!(until > Instant::now() + CALM + CALM);
}
