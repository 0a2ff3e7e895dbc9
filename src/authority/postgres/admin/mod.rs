//! What people do to the tables at a terminal: whole lists in and out, single members, groups and assignees; and what there is
//! to read of a project.
//!
//! Each verb is one transaction. Decides nothing about media, and is no part of serving.

mod export;
mod import;
pub mod media;
mod people;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use super::config::PostgresConfig;
use super::connection::Connector;
use super::error::PostgresError;

pub use export::{ExportError, export};
pub use import::{ImportError, Imported, import};
pub use people::{Change, Members, Place, Who, apply, members};

/// A connection of one's own.
pub struct Session {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn open(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let (client, connection) = Connector::new(config)?.connect().await?;
        let driver: JoinHandle<()> = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection has ended");
            }
        });
        Ok(Self {
            client,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    /// The client.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}
