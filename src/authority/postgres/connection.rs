//! Connections: a pool for questions, and one at a time for whoever listens or administers.
//!
//! A connection that failed is thrown away and the question put once more over a fresh one, for a question changes
//! nothing; after a time-out it is not, for whoever asks has waited already. Names and hosts are looked at anew for
//! each connection, so that a new address needs no restart.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
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
/// The server gives up what nobody waits for any more; compiling a plan costs more than such a question. Whether the
/// server takes writes tells a standby, and must not be hidden by a role that writes nothing.
const OPTIONS: &str = "-c statement_timeout=5s -c jit=off -c default_transaction_read_only=off";

/// The connection itself, to be driven beside its client.
pub type Connection =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

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
            server: config.server.clone(),
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
    timed_out: Mutex<Option<Instant>>,
}

impl Questions {
    /// Connects to nobody yet.
    pub fn new(connector: &Connector, connections: u32) -> Result<Self, PostgresError> {
        let mut server = connector.server.clone();
        let options = server.get_options().unwrap_or_default();
        server.options(format!("{options} {OPTIONS}"));
        // Whether it is closed is known without asking.
        let recycling_method = RecyclingMethod::Fast;
        let manager = ManagerConfig { recycling_method };
        let manager = Manager::from_config(server, connector.tls.clone(), manager);
        let pool = Pool::builder(manager)
            .max_size(connections as usize)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(TURN_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .map_err(|error| PostgresError::Refused(error.to_string()))?;
        Ok(Self {
            pool,
            timed_out: Mutex::default(),
        })
    }

    /// Puts a question, over a fresh connection once more where the first one failed.
    ///
    /// # Errors
    /// What PostgreSQL said, or that it said nothing in time.
    pub async fn ask(&self, question: &Question, rule: MediaRule) -> Result<Said, PostgresError> {
        if self.rests() {
            return Err(PostgresError::TimedOut);
        }
        let mut tried = self.try_ask(question, rule).await;
        if let Err(PostgresError::Said(_)) = tried {
            // What failed one connection may have failed all: those of a server that was restarted.
            self.drop_idle();
            tried = self.try_ask(question, rule).await;
        }
        match tried {
            Err(PostgresError::TimedOut) => *self.lock() = Some(Instant::now()),
            Ok(_) | Err(_) => self.wake(),
        }
        tried
    }

    /// Connections that nobody uses are closed: they may lead to a server that is not the one any more.
    pub fn drop_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    async fn try_ask(&self, question: &Question, rule: MediaRule) -> Result<Said, PostgresError> {
        let client = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => PostgresError::Said(error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => PostgresError::TimedOut,
        })?;
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, question.put(&client, rule)).await;
        let answer = asked.unwrap_or(Err(PostgresError::TimedOut));
        if answer.is_err() {
            // Not back into the pool.
            drop(Object::take(client));
        }
        answer
    }

    /// Whether not to ask. After each rest one asks, and the others rest on until that one has its answer.
    fn rests(&self) -> bool {
        let mut timed_out = self.lock();
        let rests = timed_out.is_some_and(|since| since.elapsed() < REST);
        if timed_out.is_some() && !rests {
            *timed_out = Some(Instant::now());
        }
        rests
    }

    /// Time-outs from before do not count any more.
    pub fn wake(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.timed_out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
