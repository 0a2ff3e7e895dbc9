//! What may they see, by the tables of a PostgreSQL database: for a fleet, each replica of which hears of every change.
//!
//! Gathers facts and decides nothing (`access` does). An answer is remembered for `access.max_age` and believed without
//! asking only while changes are heard of (LISTEN), and none has come of its project; else PostgreSQL is asked, and only
//! where it does not answer does what is remembered hold, for `access.max_age` from when it was asked. Never open.
//! The schema is documented in `docs/postgres.md`; [`schema`] makes it, [`admin`] writes to it, nothing else does.

pub mod admin;
mod changes;
pub mod config;
pub mod connection;
mod error;
pub mod inspect;
mod listener;
mod question;
pub mod schema;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::task::AbortOnDropHandle;

use super::{Authority, AuthorityError, Candidate, Entitlement, Target};
use crate::ask::memo::{Bounds, Memo, Remembered, system_clock};
use crate::auth::Annotator;
use crate::media_uri::MediaUri;
use crate::project::MediaRule;

use changes::{Changes, Concern};
pub use config::PostgresConfig;
use connection::{Connector, Questions};
pub use error::PostgresError;
use question::Question;

/// Every question that is put, `$1` the subject, `$2` their groups, `$3` the URI, `$4` the task, the project or the rule.
pub const QUESTIONS: [&str; 3] = question::ALL;

/// What is remembered, in bytes: some 20,000 answers, a few hundred annotators' pages.
const MEMORY: u64 = 32 << 20;
/// How long a failure stands for the same question: who asks again at once gets the same.
const FAILURE_HOLDS: Duration = Duration::from_millis(250);

/// How long a reload waits for a database that has to take over; a connection has as long.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether it does.
const READY_LOOK: Duration = Duration::from_millis(50);

/// The access source of `access.source = "postgres"`.
pub struct PostgresAuthority {
    shared: Arc<Shared>,
    memo: Memo<Question, Answer>,
    media: MediaRule,
    max_age: Duration,
    _listener: AbortOnDropHandle<()>,
}

/// What the listener and those who ask have in common.
struct Shared {
    connector: Connector,
    questions: Questions,
    changes: Changes,
    loaded: AtomicBool,
}

impl Shared {
    fn loaded(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }
}

/// What came of a question.
#[derive(Clone)]
struct Answer {
    /// What PostgreSQL said, this time or, where it said nothing now, the last.
    known: Option<Known>,
    /// Why it said nothing now, and the number of the last change then.
    failed: Option<(Arc<str>, u64)>,
}

impl Answer {
    fn weight(&self) -> u32 {
        let known = self.known.as_ref();
        known.map_or(0, |known| question::weight_of(&known.candidates))
    }
}

/// What PostgreSQL said.
#[derive(Clone)]
struct Known {
    candidates: Arc<[Candidate]>,
    concern: Concern,
    /// The number of the last change when it was asked.
    since: u64,
    as_of: Instant,
}

fn bounds(max_age: Duration) -> Bounds<Question, Answer> {
    Bounds {
        capacity: MEMORY,
        kept: max_age.max(FAILURE_HOLDS),
        weigh: |question, answer| question.weight().saturating_add(answer.weight()),
    }
}

impl PostgresAuthority {
    /// Begins to listen, and waits for nobody: a server that is down may come. Reads the CA file, blocking; needs the
    /// runtime. `media` is the rule of projects that have none.
    ///
    /// # Errors
    /// That the certificates cannot be used.
    pub fn open(
        config: &PostgresConfig,
        media: MediaRule,
        max_age: Duration,
    ) -> Result<Self, PostgresError> {
        let connector = Connector::new(config)?;
        let shared = Arc::new(Shared {
            questions: Questions::new(&connector, config.connections)?,
            connector,
            changes: Changes::default(),
            loaded: AtomicBool::new(false),
        });
        let listener = tokio::spawn(listener::listen(shared.clone()));
        Ok(Self {
            shared,
            memo: Memo::new(bounds(max_age), system_clock()),
            media,
            max_age,
            _listener: AbortOnDropHandle::new(listener),
        })
    }

    /// Whether changes are heard of, now.
    pub fn hears(&self) -> bool {
        self.shared.changes.are_heard()
    }

    /// Waits until it is ready, a few seconds at most: who replaces a source that works must work.
    ///
    /// # Errors
    /// That it is not; the log says why.
    pub async fn becomes_ready(&self) -> Result<(), PostgresError> {
        let begun = Instant::now();
        while !self.ready() {
            if begun.elapsed() >= READY_WITHIN {
                let message = "changes are not heard of, the log says why";
                return Err(PostgresError::Refused(message.to_owned()));
            }
            tokio::time::sleep(READY_LOOK).await;
        }
        Ok(())
    }

    /// For how long an answer may be given out without asking.
    fn holds(&self, answer: &Answer) -> Duration {
        let changes = &self.shared.changes;
        match (&answer.failed, &answer.known) {
            (Some((_, since)), _) if changes.last() == *since => FAILURE_HOLDS.min(self.max_age),
            (None, Some(known)) if changes.are_heard() && self.is_believed(known) => self.max_age,
            _ => Duration::ZERO,
        }
    }

    /// Nothing was heard since that would change it, and it is not too old.
    fn is_believed(&self, known: &Known) -> bool {
        self.shared.changes.holds(known.since, &known.concern)
            && known.as_of.elapsed() < self.max_age
    }

    async fn answer(&self, question: &Question) -> Remembered<Answer> {
        let put = || {
            let (shared, question) = (self.shared.clone(), question.clone());
            let media = self.media;
            let before = self.memo.recall(&question);
            let before = before.and_then(|before| before.value.known);
            async move {
                let (since, as_of) = (shared.changes.last(), Instant::now());
                match shared.questions.ask(&question, media).await {
                    Ok((candidates, concern)) => Answer {
                        known: Some(Known {
                            candidates: candidates.into(),
                            concern,
                            since,
                            as_of,
                        }),
                        failed: None,
                    },
                    Err(error) => Answer {
                        known: before,
                        failed: Some((error.to_string().into(), since)),
                    },
                }
            }
        };
        let holds = |answer: &Answer| self.holds(answer);
        self.memo
            .ask(question.clone(), holds, self.max_age, put)
            .await
    }
}

#[async_trait]
impl Authority for PostgresAuthority {
    async fn entitle(
        &self,
        annotator: &Annotator,
        target: &Target,
        uri: &MediaUri,
    ) -> Result<Entitlement, AuthorityError> {
        let question = Question::new(annotator, target, uri);
        let mut answer = self.answer(&question).await.value;
        // Overtaken by a change while it was under way: asked again, which is after that change.
        if let (None, Some(known)) = (&answer.failed, &answer.known)
            && !self.shared.changes.holds(known.since, &known.concern)
        {
            answer = self.answer(&question).await.value;
        }
        match (answer.known, answer.failed) {
            (Some(known), None) => Ok(known.entitlement()),
            (Some(known), Some(_)) if self.is_believed(&known) => Ok(known.entitlement()),
            (_, failed) => {
                let why = failed.map_or_else(Default::default, |(why, _)| why.to_string());
                Err(AuthorityError::Unavailable(why))
            }
        }
    }

    fn ready(&self) -> bool {
        self.shared.loaded.load(Ordering::Relaxed)
    }
}

impl Known {
    fn entitlement(self) -> Entitlement {
        Entitlement {
            candidates: self.candidates.to_vec(),
            as_of: self.as_of,
        }
    }
}

#[cfg(test)]
mod tests;
