//! `projects.toml` into the tables: the projects that it has come to be as it says, in one transaction.
//!
//! The list is read by the very code that serves it, mistakes and all, so that both sources mean the same by it.

use std::path::Path;

use tokio_postgres::{Client, Transaction};

use crate::authority::list;
use crate::authority::postgres::error::PostgresError;
use crate::authority::postgres::question::rule_as_str;
use crate::located::Problems;
use crate::project::{MediaRule, Project, Task};

/// So many rows go in one statement: what waits in memory is a few MiB.
const ROWS: usize = 10_000;

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Projects that came to be as the list says.
    pub projects: usize,
    /// Their tasks.
    pub tasks: usize,
    /// Projects that were taken out, as the list does not have them.
    pub removed: u64,
}

/// Why a list was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Its mistakes.
    #[error("{0}")]
    List(#[from] Problems),
    /// What PostgreSQL said.
    #[error("{0}")]
    Postgres(#[from] PostgresError),
}

/// Imports the list at `file`, read blocking. Projects that it does not have stay, unless `only` says that it has all.
///
/// # Errors
/// The list's mistakes, or what PostgreSQL said; nothing has changed then.
pub async fn import(client: &mut Client, file: &Path, only: bool) -> Result<Imported, ImportError> {
    let index = list::read(file, MediaRule::default()).index?;
    let projects = index.contents();
    let tasks = projects.iter().map(|(_, _, tasks)| tasks.len()).sum();
    let transaction = client.transaction().await.map_err(PostgresError::from)?;
    let ids: Vec<&str> = projects.iter().map(|(it, _, _)| it.id.as_str()).collect();
    let removed = clear(&transaction, &ids, only).await?;
    for (project, rule, tasks) in &projects {
        put_project(&transaction, project, *rule).await?;
        put_tasks(&transaction, project, tasks).await?;
    }
    transaction.commit().await.map_err(PostgresError::from)?;
    Ok(Imported {
        projects: projects.len(),
        tasks,
        removed,
    })
}

/// Makes room: what the list says of its projects is all that holds of them.
async fn clear(
    transaction: &Transaction<'_>,
    ids: &[&str],
    only: bool,
) -> Result<u64, PostgresError> {
    let removed = if only {
        let others = "delete from lockgate.project where id <> all ($1)";
        transaction.execute(others, &[&ids]).await?
    } else {
        0
    };
    let own = "delete from lockgate.project where id = any ($1)";
    transaction.execute(own, &[&ids]).await?;
    Ok(removed)
}

async fn put_project(
    transaction: &Transaction<'_>,
    project: &Project,
    rule: Option<MediaRule>,
) -> Result<(), PostgresError> {
    let id = project.id.as_str();
    let rule = rule.map(rule_as_str);
    let own = "insert into lockgate.project (id, media) values ($1, $2)";
    transaction.execute(own, &[&id, &rule]).await?;
    let storages: Vec<&str> = project.storages.iter().map(|it| it.as_str()).collect();
    let members: Vec<&str> = project.members.iter().map(|it| it.as_str()).collect();
    let groups: Vec<&str> = project.groups.iter().map(|it| &**it).collect();
    // The same storage twice is there once, at its first place.
    for (sql, names) in [
        (
            "insert into lockgate.project_storage (project, storage, position)
             select $1, storage, min(position)::integer - 1
               from unnest($2::text[]) with ordinality as s (storage, position) group by storage",
            storages,
        ),
        (
            "insert into lockgate.member (project, subject) select $1, unnest($2::text[])",
            members,
        ),
        (
            "insert into lockgate.project_group (project, name) select $1, unnest($2::text[])",
            groups,
        ),
    ] {
        transaction.execute(sql, &[&id, &names]).await?;
    }
    Ok(())
}

async fn put_tasks(
    transaction: &Transaction<'_>,
    project: &Project,
    tasks: &[&Task],
) -> Result<(), PostgresError> {
    let own = "insert into lockgate.task (id, project) select unnest($1::text[]), $2";
    let media = "insert into lockgate.task_media (task, position, uri)
                 select * from unnest($1::text[], $2::integer[], $3::text[])";
    let assignees = "insert into lockgate.task_assignee (task, subject)
                     select distinct * from unnest($1::text[], $2::text[])";
    for tasks in tasks.chunks(ROWS) {
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        let project = project.id.as_str();
        transaction.execute(own, &[&ids, &project]).await?;
        let named = tasks.iter().flat_map(|task| {
            let numbered = (0i32..).zip(&task.media);
            numbered.map(|(position, uri)| (task.id.as_str(), position, uri.to_string()))
        });
        let named: Vec<_> = named.collect();
        for named in named.chunks(ROWS) {
            let of: Vec<&str> = named.iter().map(|it| it.0).collect();
            let positions: Vec<i32> = named.iter().map(|it| it.1).collect();
            let uris: Vec<&str> = named.iter().map(|it| it.2.as_str()).collect();
            transaction
                .execute(media, &[&of, &positions, &uris])
                .await?;
        }
        let assigned = tasks.iter().flat_map(|task| {
            let of = task.id.as_str();
            task.assignees.iter().map(move |it| (of, it.as_str()))
        });
        let (of, subjects): (Vec<&str>, Vec<&str>) = assigned.unzip();
        transaction.execute(assignees, &[&of, &subjects]).await?;
    }
    Ok(())
}
