//! Credentials that end: had when first needed, renewed ahead of their end, by one request for all. A renewal goes on
//! when the request that began it is given up.
//!
//! While a renewal fails the old ones serve until their end; after it, whoever asks gets the error. A source that gave
//! some and refuses now is [`BackendError::CredentialsRefused`]: no mistake of the configuration, as a first refusal is,
//! and no outage, in which what is cached would go on being served. Knows no provider.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::BackendError;

/// Credentials are renewed when they have less than this to live (or a fifth of their life, where that is shorter):
/// room for several failed attempts.
const RENEW_BEFORE_END: Duration = Duration::from_secs(300);
/// A failed renewal is not repeated for this long while the old credentials still serve.
const RENEW_PAUSE: Duration = Duration::from_secs(10);
/// Where nothing serves, a failure answers whoever asks within this time: they do not queue up for one each.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// Up to this part of the time before the end is taken off at random, so that a fleet does not renew at once.
const JITTER: f64 = 0.2;

/// Credentials and their end.
#[derive(Debug)]
pub struct Lease<T> {
    /// The credentials.
    pub value: Arc<T>,
    /// When they end; none: never.
    pub ends_at: Option<SystemTime>,
}

/// Where credentials come from.
#[async_trait]
pub trait Issuer<T>: Send + Sync {
    /// New credentials.
    async fn issue(&self) -> Result<Lease<T>, BackendError>;
}

/// What tells the time; a test moves it.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Credentials in force.
pub struct Renewing<T> {
    shared: Arc<Shared<T>>,
    last_failure: Arc<Mutex<LastFailure>>,
    /// Ends with this.
    renewal: std::sync::Mutex<Option<AbortOnDropHandle<()>>>,
    clock: Clock,
}

/// What a renewal needs, too.
struct Shared<T> {
    issuer: Box<dyn Issuer<T>>,
    held: ArcSwapOption<Held<T>>,
    /// Whether there ever were any: a refusal then is news, and no mistake of the configuration.
    were_had: AtomicBool,
    /// Whether they were asked for last in vain.
    fails: AtomicBool,
}

/// Who holds it renews.
type LastFailure = Option<(SystemTime, BackendError)>;

struct Held<T> {
    value: Arc<T>,
    ends_at: Option<SystemTime>,
    renew_at: Option<SystemTime>,
}

impl<T: Send + Sync + 'static> Renewing<T> {
    /// Asks nobody until the first request wants credentials.
    pub fn new(issuer: impl Issuer<T> + 'static) -> Self {
        Self::with_clock(issuer, Arc::new(SystemTime::now))
    }

    /// With another clock than the system's.
    pub fn with_clock(issuer: impl Issuer<T> + 'static, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                issuer: Box::new(issuer),
                held: ArcSwapOption::empty(),
                were_had: AtomicBool::new(false),
                fails: AtomicBool::new(false),
            }),
            last_failure: Arc::default(),
            renewal: std::sync::Mutex::default(),
            clock,
        }
    }

    /// Credentials that have not ended.
    pub async fn current(&self) -> Result<Arc<T>, BackendError> {
        let serving = self.serving();
        if let Some(held) = &serving
            && held.renew_at.is_none_or(|at| at > (self.clock)())
        {
            return Ok(held.value.clone());
        }
        let turn = self.last_failure.clone();
        let last_failure = match (&serving, turn.clone().try_lock_owned()) {
            (_, Ok(turn)) => turn,
            // Somebody renews, and nobody needs to wait for it yet.
            (Some(held), Err(_)) => return Ok(held.value.clone()),
            (None, Err(_)) => turn.lock_owned().await,
        };
        // What happened while this request waited for its turn.
        let now = (self.clock)();
        let serving = self.serving();
        let failed_within = |pause| last_failure.as_ref().filter(|(at, _)| now < *at + pause);
        match &serving {
            Some(held) if held.renew_at.is_none_or(|at| at > now) => return Ok(held.value.clone()),
            Some(held) if failed_within(RENEW_PAUSE).is_some() => return Ok(held.value.clone()),
            Some(_) => {}
            None => {
                if let Some((_, error)) = failed_within(FAILURE_HOLDS) {
                    return Err(error.clone());
                }
            }
        }
        self.renew(last_failure, serving, now).await
    }

    /// Has them renewed, whether or not the caller waits for it.
    async fn renew(
        &self,
        mut turn: OwnedMutexGuard<LastFailure>,
        serving: Option<Arc<Held<T>>>,
        now: SystemTime,
    ) -> Result<Arc<T>, BackendError> {
        let (tell, told) = oneshot::channel();
        let shared = self.shared.clone();
        let renewal = tokio::spawn(async move {
            let renewed = shared.renew(&mut turn, now).await;
            let value =
                renewed.or_else(|error| serving.map(|held| held.value.clone()).ok_or(error));
            // Nobody may want to know any more.
            let _ = tell.send(value);
        });
        // The one before has ended: it had the turn.
        let kept = self.renewal.lock();
        *kept.unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(renewal));
        told.await
            .unwrap_or_else(|_| Err(BackendError::Unavailable("the renewal was given up".into())))
    }

    /// The end of the credentials in force, where they have one.
    pub fn ends_at(&self) -> Option<SystemTime> {
        self.shared
            .held
            .load()
            .as_ref()
            .and_then(|held| held.ends_at)
    }

    /// The same, for who watches that they are renewed: none where that is due and nobody has asked for them since.
    pub fn watched_end(&self) -> Option<SystemTime> {
        let held = self.shared.held.load_full()?;
        let due = held.renew_at.is_some_and(|at| at <= (self.clock)());
        let unasked = due && !self.shared.fails.load(Ordering::Relaxed);
        held.ends_at.filter(|_| !unasked)
    }

    /// Forgets the credentials in force: storage has refused them before their end.
    pub fn forget(&self) {
        self.shared.held.store(None);
    }

    /// Forgets these credentials and no newer ones: storage has refused them before their end, and of the requests
    /// that it refused another may have had them renewed already.
    pub fn forget_refused(&self, refused: &Arc<T>) {
        let held = self.shared.held.load();
        if held
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.value, refused))
        {
            self.shared.held.compare_and_swap(&held, None);
        }
    }

    fn serving(&self) -> Option<Arc<Held<T>>> {
        let now = (self.clock)();
        self.shared
            .held
            .load_full()
            .filter(|held| held.ends_at.is_none_or(|end| end > now))
    }
}

impl<T> Shared<T> {
    async fn renew(
        &self,
        last_failure: &mut LastFailure,
        now: SystemTime,
    ) -> Result<Arc<T>, BackendError> {
        match self.issuer.issue().await {
            Ok(lease) => {
                *last_failure = None;
                let value = lease.value.clone();
                self.were_had.store(true, Ordering::Relaxed);
                self.fails.store(false, Ordering::Relaxed);
                self.held.store(Some(Arc::new(Held::new(lease, now))));
                Ok(value)
            }
            Err(error) => {
                tracing::warn!(%error, "credentials, or the connection that they open, cannot be renewed");
                let error = match error {
                    BackendError::NoCredentials(said) if self.were_had.load(Ordering::Relaxed) => {
                        BackendError::CredentialsRefused(said)
                    }
                    error => error,
                };
                self.fails.store(true, Ordering::Relaxed);
                *last_failure = Some((now, error.clone()));
                Err(error)
            }
        }
    }
}

impl<T> Held<T> {
    fn new(lease: Lease<T>, now: SystemTime) -> Self {
        let renew_at = lease.ends_at.map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            let ahead = RENEW_BEFORE_END.min(life / 5);
            end - ahead.mul_f64(1.0 + JITTER * fastrand::f64()).min(life)
        });
        Self {
            value: lease.value,
            ends_at: lease.ends_at,
            renew_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Issues the numbers 0, 1, 2… for an hour each, or fails when told to.
    struct Numbers {
        issued: Arc<AtomicUsize>,
        fails: Arc<StdMutex<bool>>,
        clock: Clock,
    }

    #[async_trait]
    impl Issuer<usize> for Numbers {
        async fn issue(&self) -> Result<Lease<usize>, BackendError> {
            tokio::task::yield_now().await;
            let number = self.issued.fetch_add(1, Ordering::SeqCst);
            if *self.fails.lock().unwrap() {
                return Err(BackendError::NoCredentials("told to fail".into()));
            }
            let ends_at = Some((self.clock)() + Duration::from_secs(3600));
            Ok(Lease {
                value: Arc::new(number),
                ends_at,
            })
        }
    }

    struct Rig {
        renewing: Arc<Renewing<usize>>,
        issued: Arc<AtomicUsize>,
        fails: Arc<StdMutex<bool>>,
        seconds: Arc<AtomicU64>,
    }

    fn rig() -> Rig {
        let (issued, fails, seconds) =
            (Arc::default(), Arc::default(), Arc::new(AtomicU64::new(0)));
        let clock: Clock = {
            let seconds: Arc<AtomicU64> = Arc::clone(&seconds);
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::SeqCst)))
        };
        let numbers = Numbers {
            issued: Arc::clone(&issued),
            fails: Arc::clone(&fails),
            clock: clock.clone(),
        };
        Rig {
            renewing: Arc::new(Renewing::with_clock(numbers, clock)),
            issued,
            fails,
            seconds,
        }
    }

    #[tokio::test]
    async fn a_hundred_first_requests_share_one_issue() {
        let rig = rig();
        let ask = || rig.renewing.current();
        let had = futures_util::future::join_all((0..100).map(|_| ask())).await;
        assert!(had.iter().all(|had| **had.as_ref().unwrap() == 0));
        assert_eq!(rig.issued.load(Ordering::SeqCst), 1);
    }

    /// A request that is sent twice gives up the slower one, which may be the one that renews.
    #[tokio::test]
    async fn a_renewal_goes_on_when_whoever_began_it_has_left() {
        let rig = rig();
        {
            let mut asked = std::pin::pin!(rig.renewing.current());
            assert!(futures_util::poll!(&mut asked).is_pending());
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.issued.load(Ordering::SeqCst), 1);
        assert_eq!(*rig.renewing.current().await.unwrap(), 0);
        assert_eq!(rig.issued.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn credentials_are_renewed_ahead_of_their_end() {
        let rig = rig();
        assert_eq!(*rig.renewing.current().await.unwrap(), 0);
        rig.seconds.store(3600 - 361, Ordering::SeqCst);
        assert_eq!(
            *rig.renewing.current().await.unwrap(),
            0,
            "not yet, whatever the jitter"
        );
        rig.seconds.store(3600 - 299, Ordering::SeqCst);
        assert_eq!(*rig.renewing.current().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn while_a_renewal_fails_the_old_ones_serve_until_their_end_and_no_longer() {
        let rig = rig();
        assert_eq!(*rig.renewing.current().await.unwrap(), 0);
        *rig.fails.lock().unwrap() = true;
        rig.seconds.store(3600 - 200, Ordering::SeqCst);
        assert_eq!(*rig.renewing.current().await.unwrap(), 0);
        assert_eq!(*rig.renewing.current().await.unwrap(), 0);
        assert_eq!(
            rig.issued.load(Ordering::SeqCst),
            2,
            "a failure is not repeated at once"
        );
        rig.seconds.store(3601, Ordering::SeqCst);
        let ended = rig.renewing.current().await.unwrap_err();
        assert!(
            matches!(ended, BackendError::CredentialsRefused(_)),
            "{ended}"
        );
        *rig.fails.lock().unwrap() = false;
        rig.seconds.store(3603, Ordering::SeqCst);
        assert_eq!(*rig.renewing.current().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn an_end_that_comes_because_nobody_asks_is_not_watched_and_one_after_a_failure_is() {
        let rig = rig();
        let end = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(*rig.renewing.current().await.unwrap(), 0);
        assert_eq!(rig.renewing.watched_end(), end(3600));
        for idle_until in [3600 - 299, 7200] {
            rig.seconds.store(idle_until, Ordering::SeqCst);
            assert_eq!(rig.renewing.watched_end(), None, "{idle_until}");
        }
        *rig.fails.lock().unwrap() = true;
        assert!(rig.renewing.current().await.is_err());
        assert_eq!(rig.renewing.watched_end(), end(3600));
        *rig.fails.lock().unwrap() = false;
        rig.seconds.store(7202, Ordering::SeqCst);
        assert!(rig.renewing.current().await.is_ok());
        assert_eq!(rig.renewing.watched_end(), end(7202 + 3600));
    }

    #[tokio::test]
    async fn without_credentials_a_failure_answers_everybody_for_a_second() {
        let rig = rig();
        *rig.fails.lock().unwrap() = true;
        let ask = || rig.renewing.current();
        let had = futures_util::future::join_all((0..100).map(|_| ask())).await;
        let never = |had: &Result<_, _>| matches!(had, Err(BackendError::NoCredentials(_)));
        assert!(had.iter().all(never), "there never were any");
        assert_eq!(rig.issued.load(Ordering::SeqCst), 1);
        rig.seconds.store(2, Ordering::SeqCst);
        assert!(rig.renewing.current().await.is_err());
        assert_eq!(rig.issued.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn credentials_that_storage_refused_are_renewed_once_however_many_were_refused() {
        let rig = rig();
        let old = rig.renewing.current().await.unwrap();
        for _ in 0..3 {
            rig.renewing.forget_refused(&old);
            assert_eq!(*rig.renewing.current().await.unwrap(), 1);
        }
        assert_eq!(rig.issued.load(Ordering::SeqCst), 2);
    }
}
