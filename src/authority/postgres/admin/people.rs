//! Members, groups and assignees, one at a time.

use serde::Serialize;
use tokio_postgres::{Client, Transaction};

use crate::authority::postgres::error::PostgresError;

/// So many tasks are counted by assignee in a listing.
const LISTED: i64 = 100;

/// Whom a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Annotators, by their token's subject.
    Annotators,
    /// Groups, by their name in the token's groups claim.
    Groups,
}

/// What somebody is let in to, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A project, as a member.
    Project(String, Who),
    /// A task, as an assignee.
    Task(String),
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// In.
    Grant,
    /// Out. `open`: also where the task then is nobody's, and so every member's.
    Revoke {
        /// Whether that was said to be meant.
        open: bool,
    },
}

/// Who belongs to a project.
#[derive(Debug, Serialize)]
pub struct Members {
    /// Its id.
    pub project: String,
    /// Annotators, by subject.
    pub members: Vec<String>,
    /// Groups, by name.
    pub groups: Vec<String>,
    /// How many tasks it has.
    pub tasks: i64,
    /// Who is assigned to tasks of it, and to how many; the busiest first, a hundred at most.
    pub assignees: Vec<Assignee>,
}

/// Somebody who is assigned to tasks.
#[derive(Debug, Serialize)]
pub struct Assignee {
    /// Their token's subject.
    pub subject: String,
    /// To how many tasks.
    pub tasks: i64,
    /// Whether they are a member by name; by a group they may be all the same.
    pub member: bool,
}

/// Lets in or out; the names for which it made a difference.
///
/// # Errors
/// That there is no such project or task, that a task would come to be every member's, or what PostgreSQL said.
pub async fn apply(
    client: &mut Client,
    change: Change,
    place: &Place,
    names: &[String],
) -> Result<Vec<String>, PostgresError> {
    let transaction = client.transaction().await?;
    let (sql, id) = statement(change, place);
    is_there(&transaction, place).await?;
    let rows = transaction.query(sql, &[&id, &names]).await?;
    if let (Change::Revoke { open: false }, Place::Task(id)) = (change, place)
        && !rows.is_empty()
    {
        stays_closed(&transaction, id).await?;
    }
    let changed = rows.iter().map(|row| row.try_get(0));
    let changed: Vec<String> = changed.collect::<Result<_, _>>()?;
    transaction.commit().await?;
    Ok(changed)
}

/// Who belongs to a project.
///
/// # Errors
/// That there is no such project, or what PostgreSQL said.
pub async fn members(client: &mut Client, project: &str) -> Result<Members, PostgresError> {
    let row = client
        .query_opt(
            "select array(select m.subject::text from lockgate.member m where m.project = p.id order by 1),
                    array(select g.name::text from lockgate.project_group g where g.project = p.id order by 1),
                    (select count(*) from lockgate.task t where t.project = p.id)
               from lockgate.project p where p.id = $1::text",
            &[&project],
        )
        .await?
        .ok_or_else(|| no_such("project", project))?;
    let members: Vec<String> = row.try_get(0)?;
    let assigned = client
        .query(
            "select a.subject::text, count(*) from lockgate.task_assignee a join lockgate.task t on t.id = a.task
              where t.project = $1::text group by a.subject order by 2 desc, 1 limit $2",
            &[&project, &LISTED],
        )
        .await?;
    let assignees = assigned.iter().map(|row| {
        let subject: String = row.try_get(0)?;
        Ok(Assignee {
            member: members.contains(&subject),
            tasks: row.try_get(1)?,
            subject,
        })
    });
    Ok(Members {
        project: project.to_owned(),
        assignees: assignees.collect::<Result<_, tokio_postgres::Error>>()?,
        groups: row.try_get(1)?,
        tasks: row.try_get(2)?,
        members,
    })
}

fn statement(change: Change, place: &Place) -> (&'static str, &str) {
    match (change, place) {
        (Change::Grant, Place::Project(id, Who::Annotators)) => (
            "insert into lockgate.member (project, subject) select $1, unnest($2::text[])
             on conflict do nothing returning subject",
            id,
        ),
        (Change::Grant, Place::Project(id, Who::Groups)) => (
            "insert into lockgate.project_group (project, name) select $1, unnest($2::text[])
             on conflict do nothing returning name",
            id,
        ),
        (Change::Grant, Place::Task(id)) => (
            "insert into lockgate.task_assignee (task, subject) select $1, unnest($2::text[])
             on conflict do nothing returning subject",
            id,
        ),
        (Change::Revoke { .. }, Place::Project(id, Who::Annotators)) => (
            "delete from lockgate.member where project = $1 and subject = any ($2) returning subject",
            id,
        ),
        (Change::Revoke { .. }, Place::Project(id, Who::Groups)) => (
            "delete from lockgate.project_group where project = $1 and name = any ($2) returning name",
            id,
        ),
        (Change::Revoke { .. }, Place::Task(id)) => (
            "delete from lockgate.task_assignee where task = $1 and subject = any ($2) returning subject",
            id,
        ),
    }
}

/// Held until the end, so that it does not go meanwhile, and who takes out the last two assignees does so in turn.
async fn is_there(transaction: &Transaction<'_>, place: &Place) -> Result<(), PostgresError> {
    let (sql, kind, id) = match place {
        Place::Project(id, _) => (
            "select from lockgate.project where id = $1 for key share",
            "project",
            id,
        ),
        Place::Task(id) => (
            "select from lockgate.task where id = $1 for no key update",
            "task",
            id,
        ),
    };
    match transaction.query_opt(sql, &[id]).await? {
        Some(_) => Ok(()),
        None => Err(no_such(kind, id)),
    }
}

async fn stays_closed(transaction: &Transaction<'_>, task: &str) -> Result<(), PostgresError> {
    let left = "select exists (select from lockgate.task_assignee where task = $1)";
    if transaction.query_one(left, &[&task]).await?.try_get(0)? {
        return Ok(());
    }
    let message = format!(
        "nobody would be assigned to task {task} any more, and every member of its project would see it: assign \
         somebody else first, or say --open-to-members"
    );
    Err(PostgresError::Refused(message))
}

fn no_such(kind: &str, id: &str) -> PostgresError {
    PostgresError::Refused(format!("there is no {kind} {id:?}"))
}
