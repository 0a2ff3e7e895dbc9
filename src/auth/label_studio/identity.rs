//! Who Label Studio says that a credential is (`/api/current-user/whoami`), remembered.
//!
//! Says nothing about access: Label Studio knows somebody whom it shows nothing any more. So the answer may be older
//! than a decision may, and holds while Label Studio is down.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Deserialize;

use super::{Presented, Sessions};
use crate::ask::memo::{Bounds, Clock, Memo, system_clock};
use crate::ask::{Answer, AskError, Asker};
use crate::auth::{Annotator, AuthError, Credentials, Identify, Scope};
use crate::ids::Subject;

const WHOAMI: &str = "/api/current-user/whoami";

/// Who somebody is does not change under one credential; a token that was disabled is found out by the decision, which
/// is asked with it within `access.max_age`.
const HOLDS: Duration = Duration::from_secs(600);

/// A refusal is asked about again soon: somebody may just have logged in.
const REFUSAL_HOLDS: Duration = Duration::from_secs(1);

/// For a day Label Studio may be down, and who was known before still is.
const KEPT: Duration = Duration::from_secs(86_400);

/// Some tens of thousands of credentials.
const CAPACITY_BYTES: u64 = 8 << 20;

/// Nothing ends here by the clock: Label Studio is asked instead.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

type Said = Result<Subject, NotSaid>;

#[derive(Clone)]
enum NotSaid {
    Refused,
    Unavailable(AskError),
}

/// Identifies annotators by asking Label Studio.
pub struct LabelStudioIdentity {
    asker: Arc<Asker>,
    sessions: Arc<Sessions>,
    known: Memo<[u8; 32], Said>,
}

impl LabelStudioIdentity {
    /// Asks through `asker`; a session that `sessions` knows to have ended is nobody's.
    pub fn new(asker: Arc<Asker>, sessions: Arc<Sessions>) -> Self {
        Self::with_clock(asker, sessions, system_clock())
    }

    fn with_clock(asker: Arc<Asker>, sessions: Arc<Sessions>, clock: Clock) -> Self {
        let bounds = Bounds {
            capacity: CAPACITY_BYTES,
            kept: KEPT,
            weigh: |_, _| 256,
        };
        Self {
            asker,
            sessions,
            known: Memo::new(bounds, clock),
        }
    }

    async fn subject(&self, presented: &Presented) -> Said {
        let known = self.known.recall(&presented.key);
        let known = known.and_then(|known| known.value.ok());
        let question = || {
            let (asker, fields) = (self.asker.clone(), presented.fields.clone());
            async move {
                let answer = match known {
                    Some(_) => asker.what(WHOAMI, &fields).await,
                    None => asker.what_newcomer(WHOAMI, &fields).await,
                };
                match (meaning(answer), known) {
                    // Who was known before still is.
                    (Err(NotSaid::Unavailable(_)), Some(known)) => Ok(known),
                    (said, _) => said,
                }
            }
        };
        let said = self.known.ask(presented.key, holds, HOLDS, question).await;
        said.value
    }
}

fn holds(said: &Said) -> Duration {
    match said {
        Ok(_) => HOLDS,
        Err(NotSaid::Refused | NotSaid::Unavailable(_)) => REFUSAL_HOLDS,
    }
}

fn meaning(answer: Result<Answer, AskError>) -> Said {
    #[derive(Deserialize)]
    struct Whoami {
        id: u64,
        #[serde(default)]
        email: String,
    }
    match answer.map_err(NotSaid::Unavailable)? {
        Answer::Told(body) => {
            let it: Whoami = serde_json::from_slice(&body).map_err(|_| {
                NotSaid::Unavailable(AskError::NotUnderstood("not a user".to_owned()))
            })?;
            Ok(Subject::new(match it.email.is_empty() {
                true => it.id.to_string(),
                false => it.email,
            }))
        }
        Answer::NotAuthenticated | Answer::Refused => Err(NotSaid::Refused),
        Answer::Elsewhere(_) | Answer::Streams => Err(NotSaid::Unavailable(
            AskError::NotUnderstood("sent elsewhere".to_owned()),
        )),
    }
}

#[async_trait]
impl Identify for LabelStudioIdentity {
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Arc<Annotator>, AuthError> {
        let presented = Presented::of(credentials.headers, &self.sessions)?;
        let subject = self.subject(&presented).await.map_err(|not| match not {
            NotSaid::Refused => AuthError::Invalid("label studio does not accept it"),
            NotSaid::Unavailable(error) => AuthError::Unavailable(error.to_string()),
        })?;
        Ok(Arc::new(Annotator {
            subject,
            groups: Vec::new(),
            expires_at: now + FAR,
            scope: Scope::default(),
            presented: Some(Arc::new(presented)),
        }))
    }

    fn ready(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use futures_util::future::join_all;
    use http::HeaderMap;

    use super::*;
    use crate::ask::scripted::{Question, Reply, Scripted, json, status};

    /// As Label Studio 1.23.2 answers, trimmed.
    fn knows(question: &Question) -> Reply {
        match question.fields.get("authorization").map(String::as_str) {
            Some("Token anna") => json(
                r#"{"id":1,"first_name":"","email":"anna@example.com","active_organization":1}"#,
            ),
            Some("Token nameless") => json(r#"{"id":7,"email":""}"#),
            _ => (
                401,
                "www-authenticate: Token\r\n".into(),
                r#"{"status_code":401,"detail":"Authentication credentials were not provided."}"#
                    .into(),
            ),
        }
    }

    struct Fixture {
        studio: Scripted,
        identity: LabelStudioIdentity,
        now: Arc<Mutex<Instant>>,
    }

    async fn fixture() -> Fixture {
        let studio = Scripted::start(knows).await;
        let asker = Arc::new(Asker::new(&studio.url, None).expect("an asker"));
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = now.clone();
        let clock: Clock = Arc::new(move || *clock.lock().expect("no panic"));
        let identity = LabelStudioIdentity::with_clock(asker, Arc::default(), clock);
        Fixture {
            studio,
            identity,
            now,
        }
    }

    impl Fixture {
        async fn who(&self, authorization: &str) -> Result<String, AuthError> {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", authorization.parse().expect("a value"));
            let credentials = Credentials {
                headers: &headers,
                ..Credentials::default()
            };
            let found = self
                .identity
                .authenticate(credentials, SystemTime::now())
                .await;
            found.map(|annotator| annotator.subject.to_string())
        }

        fn later(&self, seconds: u64) {
            *self.now.lock().expect("no panic") += Duration::from_secs(seconds);
        }
    }

    #[tokio::test]
    async fn a_credential_is_who_label_studio_says_asked_once_for_all() {
        let it = fixture().await;
        let all = join_all((0..20).map(|_| it.who("Token anna"))).await;
        assert!(
            all.iter()
                .all(|who| who.as_deref().ok() == Some("anna@example.com"))
        );
        assert_eq!(it.who("Token nameless").await.ok().as_deref(), Some("7"));
        assert_eq!(it.studio.count(WHOAMI), 2);
        it.later(599);
        assert!(it.who("Token anna").await.is_ok());
        assert_eq!(it.studio.count(WHOAMI), 2);
        it.later(1);
        assert!(it.who("Token anna").await.is_ok());
        assert_eq!(it.studio.count(WHOAMI), 3);
    }

    #[tokio::test]
    async fn a_refusal_is_remembered_for_a_second() {
        let it = fixture().await;
        for (expected, then) in [(1, 0), (1, 1), (2, 0)] {
            let who = it.who("Token nobody").await;
            assert!(matches!(who, Err(AuthError::Invalid(_))), "{who:?}");
            assert_eq!(it.studio.count(WHOAMI), expected);
            it.later(then);
        }
    }

    #[tokio::test]
    async fn who_was_known_still_is_while_label_studio_is_down_and_nobody_else() {
        let it = fixture().await;
        assert!(it.who("Token anna").await.is_ok());
        it.studio.say(|_| status(502));
        it.later(3600);
        assert!(it.who("Token anna").await.is_ok());
        let other = it.who("Token nameless").await;
        assert!(matches!(other, Err(AuthError::Unavailable(_))), "{other:?}");
    }

    #[tokio::test]
    async fn invented_credentials_keep_nobody_who_is_known_waiting() {
        let it = fixture().await;
        assert!(it.who("Token anna").await.is_ok());
        it.later(600);
        it.studio.hold(true);
        let invented: Vec<_> = (0..20).map(|n| format!("Token {n}")).collect();
        let strangers = join_all(invented.iter().map(|token| it.who(token)));
        let fields = HeaderMap::new();
        let decision = it.identity.asker.what("/api/tasks/1/", &fields);
        let by_anna = || {
            let asked = it.studio.asked();
            let tokens = asked.iter().filter_map(|it| it.fields.get("authorization"));
            tokens.filter(|token| *token == "Token anna").count()
        };
        let arrived = async {
            while it.studio.count("/api/tasks") == 0 || by_anna() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let let_go = async {
            let arrived = tokio::time::timeout(Duration::from_secs(20), arrived).await;
            it.studio.hold(false);
            arrived.expect("strangers are asked about, and those who are known wait");
        };
        // Polled in this order: the strangers are the first.
        let anna = it.who("Token anna");
        let (strangers, anna, decision, ()) = tokio::join!(strangers, anna, decision, let_go);
        assert!(strangers.iter().all(Result::is_err));
        assert!(anna.is_ok() && decision.is_ok());
    }

    #[tokio::test]
    async fn garbage_names_nobody() {
        let it = fixture().await;
        it.studio.say(|_| json("<html>"));
        let who = it.who("Token anna").await;
        assert!(matches!(who, Err(AuthError::Unavailable(_))), "{who:?}");
    }
}
