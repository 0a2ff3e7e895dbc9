//! Hears of changes: one connection that LISTENs (PostgreSQL's documentation of LISTEN and NOTIFY), and takes up again
//! whenever it is lost.
//!
//! First LISTEN, then forget, then ask: whatever changed unheard was committed before, so that a question from then on
//! sees it. A connection whose other end is gone says nothing, and one whose session a pooler gave away hears nothing: it
//! notifies a channel of its own, and has to hear that.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client};

use super::Shared;
use super::connection::{Connection, Connector};
use super::error::PostgresError;

/// The channel that the schema's triggers notify.
pub const CHANNEL: &str = "lockgate";
/// How often it is tried whether it hears, and how long that may take: what changed is unheard for both together at most.
const HEARTBEAT: Duration = Duration::from_secs(2);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts: soon at first, for a restart takes a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is said where the connection is well and hears nothing.
const DEAF: &str = "what is notified does not arrive: a pooler in between must keep sessions (pool_mode = session)";

/// Listens for as long as it is polled.
pub async fn listen(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let error = session(&shared).await;
        let was_heard = shared.changes.end();
        shared.questions.renew();
        if was_heard {
            pause = FIRST_PAUSE;
            said.clear();
        }
        // Said when it is lost and when the reason changes, not every two seconds.
        let why = error.to_string();
        if why != said {
            let advice = error.advice().unwrap_or("Lockgate goes on trying");
            tracing::warn!(
                "changes in PostgreSQL are not heard of: {why}; {advice}. Every decision is asked for until they are"
            );
            said = why;
        }
        // Not all replicas in the same moment.
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One connection, to its end.
async fn session(shared: &Shared) -> PostgresError {
    let living = async |client: &Client, ear: &Ear| {
        ear.listen(client).await?;
        // Only those made from now on lead to where changes are heard of.
        shared.questions.renew();
        shared.questions.wake();
        shared.changes.begin();
        shared.loaded();
        tracing::info!("changes in PostgreSQL are heard of");
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            ear.try_out(client).await?;
        }
    };
    let changed = |project: &str| {
        tracing::debug!(project, "heard of a change");
        shared.changes.heard(project);
    };
    match connected(&shared.connector, changed, living).await {
        Ok(()) => PostgresError::Refused("it ended".to_owned()),
        Err(error) => error,
    }
}

/// Whether changes can be heard of: connects, listens, and hears itself once.
///
/// # Errors
/// Why not.
pub async fn try_out(connector: &Connector) -> Result<(), PostgresError> {
    let listen = async |client: &Client, ear: &Ear| ear.listen(client).await;
    connected(connector, |_| {}, listen).await
}

/// A connection that is driven for as long as `living` takes; `changed` is called with what is notified.
async fn connected(
    connector: &Connector,
    changed: impl Fn(&str),
    living: impl AsyncFnOnce(&Client, &Ear) -> Result<(), PostgresError>,
) -> Result<(), PostgresError> {
    let (client, connection) = connector.connect().await?;
    let ear = Ear {
        channel: format!("{CHANNEL}_{:016x}", fastrand::u64(..)),
        heard: Notify::new(),
    };
    let hearing = std::pin::pin!(hear(connection, &ear, changed));
    let living = std::pin::pin!(living(&client, &ear));
    match select(hearing, living).await {
        Either::Left((error, _)) => Err(error),
        Either::Right((lived, _)) => lived,
    }
}

/// Drives the connection, and takes down what is notified.
async fn hear(mut connection: Connection, ear: &Ear, changed: impl Fn(&str)) -> PostgresError {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                match notification.channel() == ear.channel {
                    true => ear.heard.notify_one(),
                    false => changed(notification.payload()),
                }
            }
            // Notices, and what later versions may say.
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.into(),
            None => return PostgresError::Refused("the connection was closed".to_owned()),
        }
    }
}

/// Hears itself on a channel that nobody else knows.
struct Ear {
    channel: String,
    heard: Notify,
}

impl Ear {
    /// Begins to listen, and hears that it does.
    async fn listen(&self, client: &Client) -> Result<(), PostgresError> {
        let listen = format!("listen {CHANNEL}; listen {}", self.channel);
        let listening = tokio::time::timeout(HEARTBEAT_TIMEOUT, client.batch_execute(&listen));
        listening.await.map_err(|_| PostgresError::TimedOut)??;
        self.try_out(client).await
    }

    /// Whether it hears still.
    async fn try_out(&self, client: &Client) -> Result<(), PostgresError> {
        let mut deaf = false;
        let heard = async {
            client
                .batch_execute(&format!("notify {}", self.channel))
                .await?;
            deaf = true;
            self.heard.notified().await;
            Ok(())
        };
        match tokio::time::timeout(HEARTBEAT_TIMEOUT, heard).await {
            Ok(heard) => heard,
            Err(_) if deaf => Err(PostgresError::Refused(DEAF.to_owned())),
            Err(_) => Err(PostgresError::TimedOut),
        }
    }
}
