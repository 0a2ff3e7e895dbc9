//! The three questions, each one prepared statement and one round trip, and what their rows mean.
//!
//! What comes back is as small as the decision: whether this annotator is a member, which of their groups are, whether
//! the task is theirs, and whether the media is named; never the whole of a list. Text of PostgreSQL holds no NUL, so
//! that a name with one in it is asked for as null, which equals nothing.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::changes::Concern;
use super::error::PostgresError;
use crate::auth::Annotator;
use crate::authority::{Candidate, Target};
use crate::ids::{ProjectId, StorageId, Subject, TaskId};
use crate::media_uri::MediaUri;
use crate::project::{MediaRule, Project, Task};

/// `$1` subject, `$2` groups, `$3` URI; `p` is the project, and `task` and `assignee` come from beside it. Of the
/// assignees the annotator comes first: that one says whether the task is theirs, or for everybody where there is none.
macro_rules! facts {
    () => {
        "select p.id::text, p.media::text,
            array(select s.storage::text from lockgate.project_storage s where s.project = p.id order by s.position),
            exists (select from lockgate.member m where m.project = p.id and m.subject = $1::text),
            array(select g.name::text from lockgate.project_group g where g.project = p.id and g.name = any ($2::text[])),"
    };
}

/// A task of the project `p` that names the media and that the annotator may see, where there is one; `$if` says whether
/// to look for it at all. An assignee that is null, as a view may have it, is nobody, and not the lack of any.
macro_rules! naming {
    ($if:literal) => {
        concat!("left join lateral (
            select t.id, a.subject
              from lockgate.task_media m
              join lockgate.task t on t.id = m.task
              left join lateral (
                  select coalesce(a.subject::text, '') as subject from lockgate.task_assignee a where a.task = t.id
                   order by (a.subject = $1::text) desc nulls last limit 1) a on true
             where m.uri = $3::text and t.project = p.id and (a.subject is null or a.subject = $1::text)
               and ", $if, " limit 1) n on true")
    };
}

/// `$4`: the task.
const OF_TASK: &str = concat!(
    facts!(),
    " t.id::text,
      (select coalesce(a.subject::text, '') from lockgate.task_assignee a where a.task = t.id
        order by (a.subject = $1::text) desc nulls last limit 1),
      exists (select from lockgate.task_media m where m.task = t.id and m.uri = $3::text)
      from lockgate.task t join lockgate.project p on p.id = t.project
     where t.id = $4::text"
);

/// `$4`: the project. Media is looked for where they are a member alone: who is not must not make the server search.
const OF_PROJECT: &str = concat!(
    facts!(),
    " n.id::text, n.subject::text, n.id is not null from lockgate.project p ",
    naming!(
        "(exists (select from lockgate.member m where m.project = p.id and m.subject = $1::text)
          or exists (select from lockgate.project_group g where g.project = p.id and g.name = any ($2::text[])))"
    ),
    " where p.id = $4::text"
);

/// `$4`: the rule of projects that have none. Only projects that permit come back. Where they are too many to come back
/// all, it is one of each list of storages first, those that name the media before others: the rest permit nothing more.
const OF_ANY: &str = concat!(
    "select project, rule, storages, member, theirs, task, subject, named from (
     select *, row_number() over (partition by storages order by named desc, project) as nth from (",
    facts!(),
    " n.id::text, n.subject::text, n.id is not null
      from (select m.project from lockgate.member m where m.subject = $1::text
            union select g.project from lockgate.project_group g where g.name = any ($2::text[])) mine
      join lockgate.project p on p.id = mine.project ",
    naming!("true"),
    " where n.id is not null or coalesce(p.media::text, $4::text) = 'storage')
       permitting (project, rule, storages, member, theirs, task, subject, named)
     order by nth, named desc, project limit 1000) kept order by project"
);

/// All of them, for whoever wants to know whether they can be put.
pub const ALL: [&str; 3] = [OF_TASK, OF_PROJECT, OF_ANY];

/// The facts, and what they depend on.
pub type Said = (Vec<Candidate>, Concern);

/// What is asked, and remembered by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    subject: Subject,
    groups: Box<[Arc<str>]>,
    target: Asked,
    uri: MediaUri,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Task(TaskId),
    Project(ProjectId),
    AnyProject,
}

impl Question {
    pub fn new(annotator: &Annotator, target: &Target, uri: &MediaUri) -> Self {
        Self {
            subject: annotator.subject.clone(),
            groups: annotator.groups.clone().into(),
            target: match target {
                Target::Task(id) => Asked::Task(id.clone()),
                Target::Project(id) => Asked::Project(id.clone()),
                Target::AnyProject => Asked::AnyProject,
            },
            uri: uri.clone(),
        }
    }

    /// What it takes in memory, about, in bytes.
    pub fn weight(&self) -> u32 {
        let names = self.groups.iter().map(|group| group.len() + 32);
        // A URI's parts are shared by whoever has it; ids and storages are short.
        let length = 1024 + names.sum::<usize>() + self.uri.to_string().len();
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// Puts it. `rule`: of projects that have none of their own.
    pub async fn put(
        &self,
        client: &deadpool_postgres::ClientWrapper,
        rule: MediaRule,
    ) -> Result<Said, PostgresError> {
        let (statement, fourth) = match &self.target {
            Asked::Task(id) => (OF_TASK, text(id.as_str())),
            Asked::Project(id) => (OF_PROJECT, text(id.as_str())),
            Asked::AnyProject => (OF_ANY, Some(rule_as_str(rule))),
        };
        let uri = self.uri.to_string();
        let (subject, uri) = (text(self.subject.as_str()), text(&uri));
        let groups: Vec<&str> = self.groups.iter().filter_map(|it| text(it)).collect();
        let values: [&(dyn ToSql + Sync); 4] = [&subject, &groups, &uri, &fourth];
        let rows = match query(client, statement, &values).await {
            // What was prepared is of tables that have changed since, or of a session that a pooler gave away.
            Err(error) if error.is_stale_statement() => {
                client.statement_cache.clear();
                query(client, statement, &values).await?
            }
            rows => rows?,
        };
        let candidates = rows.iter().map(|row| self.candidate(row, rule));
        let candidates: Vec<_> = candidates.collect::<Result<_, _>>()?;
        let concern = match (&self.target, candidates.first()) {
            (Asked::Project(id), _) => Concern::Project(id.clone()),
            (Asked::Task(_), Some(found)) => Concern::Project(found.project.id.clone()),
            (Asked::Task(_), None) | (Asked::AnyProject, _) => Concern::Any,
        };
        Ok((candidates, concern))
    }

    fn candidate(&self, row: &Row, rule: MediaRule) -> Result<Candidate, PostgresError> {
        let id: &str = row.try_get(0)?;
        let storages: Vec<&str> = row.try_get(2)?;
        let member: bool = row.try_get(3)?;
        let groups: Vec<&str> = row.try_get(4)?;
        let project = Project {
            id: id.into(),
            storages: storages.into_iter().map(StorageId::from).collect(),
            members: member.then(|| self.subject.clone()).into_iter().collect(),
            groups: groups.into_iter().map(Into::into).collect::<HashSet<_>>(),
            media: rule_of(row.try_get(1)?, rule).ok_or_else(|| {
                PostgresError::Row(format!("project {id:?} has no known media rule"))
            })?,
        };
        let named: bool = row.try_get(7)?;
        let task = row.try_get::<_, Option<&str>>(5)?;
        let assignee = row.try_get::<_, Option<&str>>(6)?;
        let task = task.map(|task| {
            Arc::new(Task {
                id: task.into(),
                project: project.id.clone(),
                assignees: assignee.map(Subject::from).into_iter().collect(),
                media: if named {
                    vec![self.uri.clone()]
                } else {
                    vec![]
                },
            })
        });
        Ok(Candidate {
            project: Arc::new(project),
            naming: task.iter().filter(|_| named).cloned().collect(),
            task: task.filter(|_| matches!(self.target, Asked::Task(_))),
            place: None,
        })
    }
}

async fn query(
    client: &deadpool_postgres::ClientWrapper,
    statement: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, PostgresError> {
    let statement = client.prepare_cached(statement).await?;
    Ok(client.query(&statement, values).await?)
}

/// What an answer takes in memory, about, in bytes: ids and storages are short, but there may be many.
pub fn weight_of(candidates: &[Candidate]) -> u32 {
    let names = candidates.iter().map(|candidate| {
        let project = &candidate.project;
        512 + 48 * (project.storages.len() + project.groups.len())
    });
    u32::try_from(names.sum::<usize>()).unwrap_or(u32::MAX)
}

/// A project's rule as it is written; `None` where it is no known word: it must not come to mean more than was meant.
pub fn rule_of(written: Option<&str>, default: MediaRule) -> Option<MediaRule> {
    match written {
        None => Some(default),
        Some("task") => Some(MediaRule::Task),
        Some("storage") => Some(MediaRule::Storage),
        Some(_) => None,
    }
}

/// The word for a rule.
pub fn rule_as_str(rule: MediaRule) -> &'static str {
    match rule {
        MediaRule::Task => "task",
        MediaRule::Storage => "storage",
    }
}

/// What PostgreSQL can hold as text.
fn text(text: &str) -> Option<&str> {
    (!text.contains('\0')).then_some(text)
}
