//! What `check` wants to know of a database: can the questions be put, may the role do more than it should, and do the
//! rows mean something to this configuration. Reads, and changes nothing.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::config::PostgresConfig;
use super::connection::Connector;
use super::error::PostgresError;
use super::{listener, question};
use crate::media_uri::MediaUri;

/// So many of the table's rows are looked at.
const SAMPLE: i64 = 1000;

/// The server, and whom it takes us for.
#[derive(Debug)]
pub struct Server {
    /// Its version, like `15.8`.
    pub version: String,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Whether the role may do anything.
    pub superuser: bool,
}

/// A URI in the tables that is never found as it is spelled.
#[derive(Debug, PartialEq, Eq)]
pub struct Misspelled {
    /// As it is.
    pub uri: String,
    /// As it is asked for; none: no media URI.
    pub asked_for: Option<String>,
}

/// Who answers.
///
/// # Errors
/// What PostgreSQL said.
pub async fn server(client: &Client) -> Result<Server, PostgresError> {
    let row = client
        .query_one(
            "select split_part(current_setting('server_version'), ' ', 1), current_user::text, current_database()::text,
                    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false),
                    current_setting('is_superuser') = 'on'",
            &[],
        )
        .await?;
    Ok(Server {
        version: row.try_get(0)?,
        user: row.try_get(1)?,
        database: row.try_get(2)?,
        tls: row.try_get(3)?,
        superuser: row.try_get(4)?,
    })
}

/// Puts every question, about nobody: what is missing or not granted is said by PostgreSQL.
///
/// # Errors
/// That.
pub async fn questions(client: &Client) -> Result<(), PostgresError> {
    let nobody: Option<&str> = None;
    let groups: Vec<&str> = Vec::new();
    let values: [&(dyn ToSql + Sync); 4] = [&nobody, &groups, &nobody, &nobody];
    for question in question::ALL {
        client.query(question, &values).await?;
    }
    Ok(())
}

/// Listens over a connection of its own, and hears what it notifies itself.
///
/// # Errors
/// What PostgreSQL said; that nothing was heard.
pub async fn hears(config: &PostgresConfig) -> Result<(), PostgresError> {
    listener::try_out(&Connector::new(config)?).await
}

/// The tables that the role may write to, though Lockgate only reads.
///
/// # Errors
/// What PostgreSQL said.
pub async fn writable(client: &Client) -> Result<Vec<String>, PostgresError> {
    let sql = "select c.relname::text from pg_class c
                where c.relnamespace = to_regnamespace('lockgate') and c.relkind in ('r', 'v', 'm', 'p')
                  and has_table_privilege(c.oid, 'insert, update, delete, truncate') order by 1";
    let rows = client.query(sql, &[]).await?;
    let names = rows.iter().map(|row| row.try_get(0));
    Ok(names.collect::<Result<_, _>>()?)
}

/// How many projects there are, and which storages they name that are not among `configured` (ten at most).
///
/// # Errors
/// What PostgreSQL said.
pub async fn projects(
    client: &Client,
    configured: &[&str],
) -> Result<(i64, Vec<String>), PostgresError> {
    let count = "select count(*) from lockgate.project";
    let count = client.query_one(count, &[]).await?.try_get(0)?;
    let unknown = "select distinct storage::text from lockgate.project_storage
                    where storage <> all ($1::text[]) order by 1 limit 10";
    let rows = client.query(unknown, &[&configured]).await?;
    let names = rows.iter().map(|row| row.try_get(0));
    Ok((count, names.collect::<Result<_, _>>()?))
}

/// The first URI, of a thousand, that is spelled otherwise than it is asked for.
///
/// # Errors
/// What PostgreSQL said.
pub async fn misspelled(client: &Client) -> Result<Option<Misspelled>, PostgresError> {
    let sql = "select uri::text from lockgate.task_media limit $1";
    for row in client.query(sql, &[&SAMPLE]).await? {
        let uri: String = row.try_get(0)?;
        let asked_for = MediaUri::parse(&uri).ok().map(|parsed| parsed.to_string());
        if asked_for.as_ref() != Some(&uri) {
            return Ok(Some(Misspelled { uri, asked_for }));
        }
    }
    Ok(None)
}
