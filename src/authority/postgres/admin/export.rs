//! The tables as a `projects.toml`, which both sources read to the same meaning: what is imported again is what was.
//!
//! Tasks stand in the list itself: a task file names media in data, among other text, and a list names them as they are.
//! Written as it is read, in one snapshot; no table is held in memory.

use std::io::{self, Write};

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};
use toml::Value;

use crate::authority::postgres::error::PostgresError;

const HEAD: &str = "# Who may see what, as lockgate db export wrote it.\n";

const PROJECTS: &str = "
    select p.id::text, p.media::text,
           array(select s.storage::text from lockgate.project_storage s where s.project = p.id order by s.position),
           array(select m.subject::text from lockgate.member m where m.project = p.id order by 1),
           array(select g.name::text from lockgate.project_group g where g.project = p.id order by 1)
      from lockgate.project p order by p.id";

const TASKS: &str = "
    select t.id::text,
           array(select m.uri::text from lockgate.task_media m where m.task = t.id order by m.position),
           array(select a.subject::text from lockgate.task_assignee a where a.task = t.id order by 1)
      from lockgate.task t where t.project = $1::text order by t.id";

/// Why a list was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What PostgreSQL said.
    #[error("{0}")]
    Postgres(#[from] PostgresError),
    /// It cannot be written.
    #[error("the list cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl From<tokio_postgres::Error> for ExportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// Writes all projects.
///
/// # Errors
/// What PostgreSQL said, or that it cannot be written.
pub async fn export(client: &mut Client, to: &mut impl Write) -> Result<(), ExportError> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    to.write_all(HEAD.as_bytes())?;
    for row in transaction.query(PROJECTS, &[]).await? {
        project(&row, to)?;
        tasks(&transaction, row.try_get(0)?, to).await?;
    }
    Ok(())
}

fn project(row: &Row, to: &mut impl Write) -> Result<(), ExportError> {
    writeln!(to, "\n[[project]]\nid = {}", text(row.try_get(0)?))?;
    if let Some(rule) = row.try_get(1)? {
        writeln!(to, "media = {}", text(rule))?;
    }
    writeln!(to, "storages = {}", list(row.try_get(2)?))?;
    for (key, column) in [("members", 3), ("groups", 4)] {
        let names: Vec<String> = row.try_get(column)?;
        if !names.is_empty() {
            writeln!(to, "{key} = {}", list(names))?;
        }
    }
    Ok(())
}

async fn tasks(
    transaction: &Transaction<'_>,
    project: &str,
    to: &mut impl Write,
) -> Result<(), ExportError> {
    let values: [&(dyn ToSql + Sync); 1] = [&project];
    let rows = transaction.query_raw(TASKS, values).await?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await? {
        writeln!(to, "\n[[project.task]]\nid = {}", text(row.try_get(0)?))?;
        writeln!(to, "media = {}", list(row.try_get(1)?))?;
        let assignees: Vec<String> = row.try_get(2)?;
        if !assignees.is_empty() {
            writeln!(to, "assignees = {}", list(assignees))?;
        }
    }
    Ok(())
}

/// As TOML writes it.
fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn list(names: Vec<String>) -> Value {
    Value::Array(names.into_iter().map(Value::String).collect())
}
