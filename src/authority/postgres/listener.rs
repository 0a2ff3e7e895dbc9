//! Hears of changes: one connection that LISTENs (PostgreSQL's documentation of LISTEN and NOTIFY), and takes up again
//! whenever it is lost.
//!
//! First LISTEN, then forget, then ask: whatever changed unheard was committed before, so that a question from then on
//! sees it. A connection whose other end is gone says nothing; it is asked for a sign of life.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio_postgres::AsyncMessage;

use super::Shared;
use super::connection::Connection;
use super::error::PostgresError;

/// The channel that the schema's triggers notify.
pub const CHANNEL: &str = "lockgate";
/// How often a sign of life is asked for, and how long it may take: what changed is unheard for both together at most.
const HEARTBEAT: Duration = Duration::from_secs(2);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts: soon at first, for a restart takes a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Listens for as long as it is polled.
pub async fn listen(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let error = session(&shared).await;
        let was_heard = shared.changes.end();
        shared.questions.drop_idle();
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
    let (client, connection) = match shared.connector.connect().await {
        Ok(connected) => connected,
        Err(error) => return error,
    };
    let hearing = std::pin::pin!(hear(connection, shared));
    let living = std::pin::pin!(live(client, shared));
    match select(hearing, living).await {
        Either::Left((error, _)) | Either::Right((error, _)) => error,
    }
}

/// Drives the connection, and takes down what is notified.
async fn hear(mut connection: Connection, shared: &Shared) -> PostgresError {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                tracing::debug!(project = notification.payload(), "heard of a change");
                shared.changes.heard(notification.payload());
            }
            // Notices, and what later versions may say.
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.into(),
            None => return PostgresError::Refused("the connection was closed".to_owned()),
        }
    }
}

/// Begins to listen, and asks for signs of life.
async fn live(client: tokio_postgres::Client, shared: &Shared) -> PostgresError {
    let in_time = |asked| tokio::time::timeout(HEARTBEAT_TIMEOUT, asked);
    let listen = format!("listen {CHANNEL}");
    match in_time(client.batch_execute(&listen)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.into(),
        Err(_) => return PostgresError::TimedOut,
    }
    shared.questions.wake();
    shared.changes.begin();
    shared.loaded();
    tracing::info!("changes in PostgreSQL are heard of");
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        match in_time(client.batch_execute("select")).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return PostgresError::TimedOut,
        }
    }
}
