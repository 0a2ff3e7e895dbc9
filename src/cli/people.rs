//! `lockgate grant`, `revoke` and `members`: who belongs to a project and to whom a task is assigned, in PostgreSQL.
//!
//! Says what changed and what did not, and where somebody who was taken out is still let in.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::CliError;
use super::db::Database;
use crate::authority::postgres::admin::{self, Change, Members, Place, Who};

/// The arguments of `lockgate grant`.
#[derive(Debug, clap::Args)]
pub struct GrantArgs {
    #[command(flatten)]
    what: What,
}

/// The arguments of `lockgate revoke`.
#[derive(Debug, clap::Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    what: What,
    /// Take out a task's last assignee, too: every member of its project sees it then.
    #[arg(long, requires = "task")]
    open_to_members: bool,
}

/// The arguments of `lockgate members`.
#[derive(Debug, clap::Args)]
pub struct MembersArgs {
    /// The project.
    #[arg(long, value_name = "ID")]
    project: String,
    #[command(flatten)]
    database: Database,
    /// Print an object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct What {
    /// Annotators, by their token's subject; with --group groups, by their name in the token's groups claim.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The project that they are members of.
    #[arg(long, value_name = "ID", required_unless_present = "task")]
    project: Option<String>,
    /// The task that they are assigned to; it is then for its assignees alone.
    #[arg(long, value_name = "ID", conflicts_with = "project")]
    task: Option<String>,
    /// The names are those of groups.
    #[arg(long, conflicts_with = "task")]
    group: bool,
    #[command(flatten)]
    database: Database,
    /// Print an object instead of lines.
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(serde::Serialize)]
struct Done<'a> {
    changed: &'a [String],
    unchanged: Vec<&'a str>,
}

/// Lets them in.
///
/// # Errors
/// That there is no such project or task, or what PostgreSQL said.
pub async fn grant(config: &Path, args: &GrantArgs) -> Result<ExitCode, CliError> {
    args.what.apply(config, Change::Grant).await
}

/// Takes them out.
///
/// # Errors
/// As [`grant`]; that a task would come to be for every member.
pub async fn revoke(config: &Path, args: &RevokeArgs) -> Result<ExitCode, CliError> {
    let open = args.open_to_members;
    args.what.apply(config, Change::Revoke { open }).await
}

/// Lists who belongs to a project.
///
/// # Errors
/// That there is no such project, or what PostgreSQL said.
pub async fn members(config: &Path, args: &MembersArgs) -> Result<ExitCode, CliError> {
    let mut session = args.database.open(config).await?;
    let members = admin::members(session.client(), &args.project).await?;
    if args.json {
        super::print_json(&members);
    } else {
        super::print(&listing(&members));
    }
    Ok(ExitCode::SUCCESS)
}

impl What {
    fn place(&self) -> Place {
        let who = if self.group {
            Who::Groups
        } else {
            Who::Annotators
        };
        match (&self.task, &self.project) {
            (Some(task), _) => Place::Task(task.clone()),
            (None, project) => Place::Project(project.clone().unwrap_or_default(), who),
        }
    }

    async fn apply(&self, config: &Path, change: Change) -> Result<ExitCode, CliError> {
        let mut session = self.database.open(config).await?;
        let place = self.place();
        let changed = admin::apply(session.client(), change, &place, &self.names).await?;
        let unchanged = self.names.iter().filter(|name| !changed.contains(name));
        let done = Done {
            unchanged: unchanged.map(String::as_str).collect(),
            changed: &changed,
        };
        if self.json {
            super::print_json(&done);
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = said(change, &place, &done);
        // Who is no member by name may be one by a group, which only the token tells.
        if let (Change::Revoke { .. }, Place::Project(id, Who::Annotators)) = (change, &place) {
            let groups = admin::members(session.client(), id).await?.groups;
            if !groups.is_empty() {
                let groups = super::printable(&groups.join(", "));
                let _ = writeln!(
                    text,
                    "note: whoever is in {groups} by their token is still let in"
                );
            }
        }
        super::print(&text);
        Ok(ExitCode::SUCCESS)
    }
}

fn said(change: Change, place: &Place, done: &Done<'_>) -> String {
    let (place, them) = match place {
        Place::Project(id, Who::Annotators) => (format!("project {id}"), ""),
        Place::Project(id, Who::Groups) => (format!("project {id}"), "group "),
        Place::Task(id) => (format!("task {id}"), ""),
    };
    let (yes, no) = match change {
        Change::Grant => ("granted to", "already in"),
        Change::Revoke { .. } => ("taken out of", "was not in"),
    };
    let changed = done.changed.iter().map(|name| (name.as_str(), yes));
    let unchanged = done.unchanged.iter().map(|name| (*name, no));
    let lines = changed.chain(unchanged).map(|(name, what)| match change {
        Change::Grant if what == yes => format!("{place} {what} {them}{name}"),
        Change::Grant | Change::Revoke { .. } => format!("{them}{name} {what} {place}"),
    });
    let lines = lines.map(|line| super::printable(&line) + "\n");
    lines.collect()
}

fn listing(of: &Members) -> String {
    let mut text = format!("project {}, tasks {}\n", of.project, of.tasks);
    let mut lines = |title: &str, names: &[String]| {
        let _ = writeln!(text, "{title} {}", names.len());
        for name in names {
            let _ = writeln!(text, "  {}", super::printable(name));
        }
    };
    lines("members", &of.members);
    lines("groups", &of.groups);
    let assignees = of.assignees.iter().map(|it| {
        let other = if it.member {
            ""
        } else {
            " (no member by name)"
        };
        format!("{}: tasks {}{other}", it.subject, it.tasks)
    });
    lines("assignees", &assignees.collect::<Vec<_>>());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_and_what_did_not_is_said() {
        let changed = ["anna".to_owned()];
        let done = Done {
            changed: &changed,
            unchanged: vec!["bo\u{1b}"],
        };
        let project = Place::Project("42".into(), Who::Annotators);
        assert_eq!(
            said(Change::Grant, &project, &done),
            "project 42 granted to anna\nbo\u{fffd} already in project 42\n"
        );
        let groups = Place::Project("42".into(), Who::Groups);
        assert_eq!(
            said(Change::Revoke { open: false }, &groups, &done),
            "group anna taken out of project 42\ngroup bo\u{fffd} was not in project 42\n"
        );
    }
}
