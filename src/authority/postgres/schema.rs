//! The schema `lockgate`: its migrations, in the binary, applied in one transaction by one at a time.
//!
//! A migration that was released is never changed; what is new comes in another one.

use tokio_postgres::{Client, Transaction};

use super::error::PostgresError;

/// In order; a migration's version is its place from 1.
const MIGRATIONS: &[(&str, &str)] = &[
    ("tables", include_str!("schema/0001_tables.sql")),
    ("notify", include_str!("schema/0002_notify.sql")),
];

/// Who needs what, to be run by the schema's owner.
pub const ROLES: &str = include_str!("schema/roles.sql");

/// Held while the schema changes, so that two who migrate at once do it one after the other ("lockgate" in ASCII).
const LOCK: i64 = 0x6c6f_636b_6761_7465;

/// The version that this Lockgate reads.
pub const VERSION: i32 = MIGRATIONS.len() as i32;

/// What was applied, by version and name; nothing: all was there.
///
/// # Errors
/// What PostgreSQL said; that the schema is of a later Lockgate, or not Lockgate's own.
pub async fn migrate(client: &mut Client) -> Result<Vec<(i32, &'static str)>, PostgresError> {
    let transaction = client.transaction().await?;
    transaction
        .execute("select pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    let present = match version(&transaction).await? {
        Some(version) => version,
        None => begin(&transaction).await?,
    };
    if present > VERSION {
        let message = format!(
            "the schema has version {present} and this Lockgate reads {VERSION}: use the newer Lockgate"
        );
        return Err(PostgresError::Refused(message));
    }
    let mut applied = Vec::new();
    for (version, (name, sql)) in (1..).zip(MIGRATIONS) {
        if version > present {
            transaction.batch_execute(sql).await?;
            let written = "insert into lockgate.migration (version, name) values ($1, $2)";
            transaction.execute(written, &[&version, name]).await?;
            applied.push((version, *name));
        }
    }
    transaction.commit().await?;
    Ok(applied)
}

/// The schema's version; none where Lockgate has not made it.
///
/// # Errors
/// What PostgreSQL said.
pub async fn version(
    client: &impl tokio_postgres::GenericClient,
) -> Result<Option<i32>, PostgresError> {
    let there = "select to_regclass('lockgate.migration') is not null";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let version = "select coalesce(max(version), 0) from lockgate.migration";
    Ok(Some(client.query_one(version, &[]).await?.try_get(0)?))
}

async fn begin(transaction: &Transaction<'_>) -> Result<i32, PostgresError> {
    let own = "select to_regclass('lockgate.project') is not null";
    if transaction.query_one(own, &[]).await?.try_get(0)? {
        let message = "there is a lockgate.project that no migration made: where the schema holds views of your own, \
                       there is nothing to migrate";
        return Err(PostgresError::Refused(message.to_owned()));
    }
    // `if not exists` would want the right to create one even where it is there.
    let there = "select to_regnamespace('lockgate') is not null";
    if !transaction
        .query_one(there, &[])
        .await?
        .try_get::<_, bool>(0)?
    {
        transaction.batch_execute("create schema lockgate").await?;
    }
    transaction
        .batch_execute(
            "create table lockgate.migration (
                 version integer primary key,
                 name text not null,
                 applied_at timestamptz not null default now()
             )",
        )
        .await?;
    Ok(0)
}
