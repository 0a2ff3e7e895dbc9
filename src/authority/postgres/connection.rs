//! Connections: a pool for questions, and one at a time for whoever listens or administers.
//!
//! A connection that failed is thrown away and the question put once more over a fresh one, for a question changes
//! nothing; after a time-out it is not, for whoever asks has waited already. One whose answer nobody waited for is
//! closed and its question cancelled: it is nobody else's to wait for. Names and hosts are looked at anew for
//! each connection, so that a new address needs no restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::PostgresConfig;
use super::error::PostgresError;
use super::question::{Question, Said};
use super::tls;
use crate::project::MediaRule;

/// For a connection and all of its hosts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an answer: a question is looked up by keys, and takes a fraction of a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a question waits for a connection that others use.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);
/// After a time-out one question a second is put, and nobody else waits: a page of thumbnails would wait for each of
/// its pictures.
const REST: Duration = Duration::from_secs(1);
/// So many answers in a row that did not come are the server's doing, and not one question's.
const SLOW_IN_A_ROW: u32 = 3;
/// A connection is used for as long and then made anew: where a name leads elsewhere meanwhile, it is followed.
const LIFETIME: Duration = Duration::from_secs(60);
/// To tell the server that nobody waits any more; where that fails, `statement_timeout` ends the question.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
/// Of every session. No operator and no function is another's than the server's own, whatever the role's or the
/// database's search_path; every table is named with its schema. Whether the server takes writes tells a standby, and
/// must not be hidden by a role that writes nothing.
const OPTIONS: &str = "-c search_path=pg_catalog -c default_transaction_read_only=off";
/// Of those that ask. The server gives up what nobody waits for any more; compiling a plan costs more than such a
/// question.
const OPTIONS_TO_ASK: &str = "-c statement_timeout=5s -c jit=off";

/// The connection itself, to be driven beside its client.
pub type Connection =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Beside what the URL says, and before it where it says otherwise.
fn with_options(server: &Config, more: &str) -> Config {
    let mut server = server.clone();
    let options = server.get_options().unwrap_or_default();
    server.options(format!("{options} {more}"));
    server
}

/// Makes connections of their own.
#[derive(Clone)]
pub struct Connector {
    server: Config,
    tls: MakeRustlsConnect,
}

impl Connector {
    /// Reads the CA file, blocking.
    ///
    /// # Errors
    /// That the certificates cannot be used.
    pub fn new(config: &PostgresConfig) -> Result<Self, PostgresError> {
        Ok(Self {
            server: with_options(&config.server, OPTIONS),
            tls: tls::connector(config)?,
        })
    }

    /// One more connection.
    ///
    /// # Errors
    /// That there is none in time.
    pub async fn connect(&self) -> Result<(tokio_postgres::Client, Connection), PostgresError> {
        let connecting = self.server.connect(self.tls.clone());
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        Ok(connected.map_err(|_| PostgresError::TimedOut)??)
    }
}

/// Connections for questions.
pub struct Questions {
    pool: Pool,
    tls: MakeRustlsConnect,
    trouble: Mutex<Trouble>,
    /// Connections made before that are not used any more.
    renewed: Arc<Mutex<Instant>>,
}

/// What did not come in time.
#[derive(Default)]
struct Trouble {
    /// Since when questions rest.
    rests: Option<Instant>,
    /// Answers in a row that did not come.
    unanswered: u32,
}

impl Questions {
    /// Connects to nobody yet.
    pub fn new(connector: &Connector, connections: u32) -> Result<Self, PostgresError> {
        let server = with_options(&connector.server, OPTIONS_TO_ASK);
        // Whether it is closed is known without asking.
        let recycling_method = RecyclingMethod::Fast;
        let manager = ManagerConfig { recycling_method };
        let manager = Manager::from_config(server, connector.tls.clone(), manager);
        let renewed = Arc::new(Mutex::new(Instant::now()));
        let since = renewed.clone();
        let pool = Pool::builder(manager)
            .max_size(connections as usize)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(TURN_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                match metrics.age() < LIFETIME && metrics.created >= *lock(&since) {
                    true => Ok(()),
                    false => Err(HookError::message("too old")),
                }
            }))
            .build()
            .map_err(|error| PostgresError::Refused(error.to_string()))?;
        Ok(Self {
            pool,
            tls: connector.tls.clone(),
            trouble: Mutex::default(),
            renewed,
        })
    }

    /// Puts a question, over a fresh connection once more where the first one was lost.
    ///
    /// # Errors
    /// What PostgreSQL said, or that it said nothing in time.
    pub async fn ask(&self, question: &Question, rule: MediaRule) -> Result<Said, PostgresError> {
        if self.rests() {
            return Err(PostgresError::TimedOut);
        }
        let tried = self.try_ask(question, rule).await;
        if !tried.as_ref().is_err_and(PostgresError::is_lost_connection) {
            return tried;
        }
        // What ended one connection may have ended all: those of a server that was restarted.
        self.renew();
        self.try_ask(question, rule).await
    }

    /// No connection of before is used any more, be it in use now: it may lead to a server that is not the one.
    pub fn renew(&self) {
        *lock(&self.renewed) = Instant::now();
        self.pool.retain(|_, _| false);
    }

    async fn try_ask(&self, question: &Question, rule: MediaRule) -> Result<Said, PostgresError> {
        let busy = self.turn().await?;
        let Some(client) = &busy.client else {
            return Err(PostgresError::TimedOut);
        };
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, question.put(client, rule)).await;
        let Ok(answer) = asked else {
            self.slow();
            return Err(PostgresError::TimedOut);
        };
        self.wake();
        if !answer
            .as_ref()
            .is_err_and(PostgresError::is_lost_connection)
        {
            busy.give_back();
        }
        answer
    }

    /// A connection, once others leave one.
    async fn turn(&self) -> Result<Busy, PostgresError> {
        let client = match self.pool.get().await {
            Ok(client) => client,
            Err(PoolError::Backend(error)) if !is_time_out(&error) => {
                self.wake();
                return Err(error.into());
            }
            Err(_) => {
                lock(&self.trouble).rests = Some(Instant::now());
                return Err(PostgresError::TimedOut);
            }
        };
        Ok(Busy {
            client: Some(client),
            tls: self.tls.clone(),
        })
    }

    /// Whether not to ask. After each rest one asks, and the others rest on until that one has its answer.
    fn rests(&self) -> bool {
        let mut trouble = lock(&self.trouble);
        let rests = trouble.rests.is_some_and(|since| since.elapsed() < REST);
        if trouble.rests.is_some() && !rests {
            trouble.rests = Some(Instant::now());
        }
        rests
    }

    /// An answer did not come. One may be a question that is hard, and no reason for others not to ask.
    fn slow(&self) {
        let mut trouble = lock(&self.trouble);
        trouble.unanswered = trouble.unanswered.saturating_add(1);
        if trouble.unanswered >= SLOW_IN_A_ROW {
            trouble.rests = Some(Instant::now());
        }
    }

    /// Time-outs from before do not count any more.
    pub fn wake(&self) {
        *lock(&self.trouble) = Trouble::default();
    }
}

/// A connection with a question under way. Dropped before the answer came, it is closed, and the server told.
struct Busy {
    client: Option<Object>,
    tls: MakeRustlsConnect,
}

impl Busy {
    /// The answer has come: back into the pool.
    fn give_back(mut self) {
        self.client = None;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let (cancel, closed) = (client.cancel_token(), client.is_closed());
        drop(Object::take(client));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !closed {
            let tls = self.tls.clone();
            // Owned by nobody, for whoever asked is gone; it ends by itself.
            runtime.spawn(async move {
                let _ = tokio::time::timeout(CANCEL_TIMEOUT, cancel.cancel_query(tls)).await;
            });
        }
    }
}

/// Whether no connection came in time to any of the hosts.
fn is_time_out(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
