//! The rules, one after the other, over the same facts as a request's: which hold, which do not, and the verdict.
//!
//! Pure. Every rule is shown, also after one that denies, so that two mistakes are seen at once.

use std::time::SystemTime;

use super::explanation::{Explanation, Rule, Served, rule};
use crate::access::{Denied, authorize};
use crate::auth::Annotator;
use crate::authority::{Candidate, Entitlement, Target};
use crate::cli::in_words;
use crate::media_uri::MediaUri;
use crate::project::{Delivery, MediaRule, Task};
use crate::resolve::{ResolvedObject, StorageRule, Storages};

/// So many names are listed in a line.
const LISTED: usize = 5;

/// What a request asks, and the facts about it.
pub struct Question<'a> {
    /// Whose token it is.
    pub annotator: &'a Annotator,
    /// The facts.
    pub entitlement: &'a Entitlement,
    /// The route.
    pub target: &'a Target,
    /// The media.
    pub uri: &'a MediaUri,
    /// The configured storages.
    pub storages: &'a Storages,
    /// When.
    pub now: SystemTime,
}

impl Question<'_> {
    /// Asks every rule.
    pub fn explain(&self) -> Explanation {
        let mut rules = vec![self.token(), self.scope()];
        let candidates = &self.entitlement.candidates;
        if candidates.is_empty() {
            rules.push(self.nothing_known());
        }
        for candidate in candidates {
            rules.extend(self.candidate(candidate));
        }
        let (annotator, entitlement) = (self.annotator, self.entitlement);
        let permit = authorize(annotator, entitlement, self.target, self.uri, self.now);
        let resolved = permit.and_then(|permit| {
            let resolved = self.storages.resolve(&permit)?;
            let project = permit.projects().first();
            let project = project.map_or("", |project| project.id.as_str());
            Ok(served(&resolved, project))
        });
        match resolved {
            Ok(served) => {
                rules.push(self.delivery(&served));
                Explanation {
                    allowed: true,
                    reason: None,
                    served: Some(served),
                    rules,
                }
            }
            Err(denied) => Explanation {
                allowed: false,
                reason: Some(denied.to_string()),
                served: None,
                rules,
            },
        }
    }

    fn token(&self) -> Rule {
        let Annotator {
            subject,
            groups,
            expires_at,
            ..
        } = self.annotator;
        let groups = match groups.is_empty() {
            true => "in no group".to_owned(),
            false => format!("in {}", listed(groups.iter().map(|group| &**group))),
        };
        match expires_at.duration_since(self.now) {
            Ok(left) => rule(
                "token",
                true,
                format!("{subject}, {groups}, for another {}", in_words(left)),
            ),
            Err(_) => rule("token", false, Denied::Expired.to_string()),
        }
    }

    fn scope(&self) -> Rule {
        let scope = &self.annotator.scope;
        if scope.is_empty() {
            return rule(
                "scope",
                true,
                "the token is limited to no task and no media",
            );
        }
        let task = scope.task.as_ref();
        let task = task.is_none_or(|only| *self.target == Target::Task(only.clone()));
        let uri = scope.uri.as_ref().is_none_or(|only| only == self.uri);
        match task && uri {
            true => rule("scope", true, "the token is limited to this"),
            false => rule("scope", false, Denied::OutsideScope.to_string()),
        }
    }

    fn nothing_known(&self) -> Rule {
        match self.target {
            Target::Task(task) => {
                rule("task", false, format!("the access list has no task {task}"))
            }
            Target::Project(project) => rule(
                "project",
                false,
                format!("the access list has no project {project}"),
            ),
            Target::AnyProject => rule(
                "project",
                false,
                "no project names this media or shows whole storages",
            ),
        }
    }

    fn candidate(&self, candidate: &Candidate) -> Vec<Rule> {
        let project = &candidate.project;
        let mut rules = vec![match &candidate.task {
            Some(task) => rule(
                "task",
                true,
                format!("{} is of project {}", task.id, project.id),
            ),
            None => rule(
                "project",
                true,
                format!("{} is in the access list", project.id),
            ),
        }];
        rules.push(self.member(candidate));
        rules.extend(candidate.task.as_ref().map(|task| self.assignee(task)));
        rules.push(self.media(candidate));
        rules.extend(self.storages_of(candidate));
        rules
    }

    fn member(&self, candidate: &Candidate) -> Rule {
        let (project, subject) = (&candidate.project, &self.annotator.subject);
        let mut groups = self.annotator.groups.iter();
        if project.members.contains(subject) {
            rule(
                "member",
                true,
                format!("{subject} is a member of project {}", project.id),
            )
        } else if let Some(group) = groups.find(|group| project.groups.contains(*group)) {
            rule(
                "member",
                true,
                format!("the group {group} is of project {}", project.id),
            )
        } else {
            let detail = format!(
                "{subject} is not a member of project {}, nor in a group of it",
                project.id
            );
            rule("member", false, detail)
        }
    }

    fn assignee(&self, task: &Task) -> Rule {
        let assignees = listed(task.assignees.iter().map(|assignee| assignee.as_str()));
        if task.assignees.is_empty() {
            rule("assignee", true, "the task is for every member")
        } else if may_see(self.annotator, task) {
            rule("assignee", true, format!("assigned to {assignees}"))
        } else {
            rule("assignee", false, format!("assigned to {assignees}"))
        }
    }

    fn media(&self, candidate: &Candidate) -> Rule {
        let project = &candidate.project;
        let naming = &candidate.naming;
        let seen = naming.iter().filter(|task| may_see(self.annotator, task));
        let seen: Vec<_> = seen.map(|task| task.id.as_str()).collect();
        match project.media {
            MediaRule::Storage => {
                let detail = format!("project {} shows whatever its storages hold", project.id);
                rule("media", true, detail)
            }
            MediaRule::Task if !seen.is_empty() => rule(
                "media",
                true,
                format!("named by task {}", listed(seen.into_iter())),
            ),
            MediaRule::Task if !naming.is_empty() => {
                let ids = listed(naming.iter().map(|task| task.id.as_str()));
                rule(
                    "media",
                    false,
                    format!("named by task {ids} alone, assigned to others"),
                )
            }
            MediaRule::Task if candidate.task.is_some() => {
                rule("media", false, Denied::NotInTask.to_string())
            }
            MediaRule::Task => {
                let detail = format!("the data of no task of project {} names it", project.id);
                rule("media", false, detail)
            }
        }
    }

    /// What the project's storages say of the URI: those that know its bucket, or that none does.
    fn storages_of(&self, candidate: &Candidate) -> Vec<Rule> {
        let storages = &candidate.project.storages;
        let known = storages.iter().filter_map(|id| self.storages.get(id));
        let mut rules: Vec<_> = known.filter_map(|storage| self.storage(storage)).collect();
        if rules.is_empty() {
            let ids = listed(storages.iter().map(|id| id.as_str()));
            let detail = format!("the uri names nothing in any of the project's storages ({ids})");
            rules.push(rule("storage", false, detail));
        }
        rules
    }

    fn storage(&self, storage: &StorageRule) -> Option<Rule> {
        let (id, uri) = (&storage.id, self.uri);
        let key = storage.names.key(id, uri)?;
        let prefix = match &*storage.prefix {
            "" => "without a prefix".to_owned(),
            prefix => format!("prefix {prefix}"),
        };
        let unpatterned = StorageRule {
            pattern: None,
            ..storage.clone()
        };
        Some(
            match (&storage.pattern, unpatterned.key(uri), storage.key(uri)) {
                (_, None, _) => rule(
                    "storage",
                    false,
                    format!("{id}: the key {key} is not below its {prefix}"),
                ),
                (Some(pattern), Some(_), None) => {
                    let detail = format!(
                        "{id}, {prefix}: the key {key} does not match its pattern {pattern}"
                    );
                    rule("pattern", false, detail)
                }
                (Some(pattern), Some(_), Some(_)) => rule(
                    "storage",
                    true,
                    format!("{id}, {prefix}, pattern {pattern}"),
                ),
                (None, Some(_), _) => rule("storage", true, format!("{id}, {prefix}, no pattern")),
            },
        )
    }

    fn delivery(&self, served: &Served) -> Rule {
        let storage = self.storages.rules().iter();
        let mut storage = storage.filter(|rule| rule.id.as_str() == served.storage);
        let detail = match storage
            .next()
            .map(|rule| (rule.delivery, rule.presign_expiry))
        {
            Some((Delivery::Redirect, expiry)) => {
                format!(
                    "{} redirects to a URL that lives for {}",
                    served.storage,
                    in_words(expiry)
                )
            }
            Some((Delivery::Application, _)) => "the annotation application serves it".to_owned(),
            Some((Delivery::Proxy, _)) | None => {
                format!("{} is streamed through Lockgate", served.storage)
            }
        };
        rule("delivery", true, detail)
    }
}

fn served(resolved: &ResolvedObject, project: &str) -> Served {
    let location = resolved.location();
    Served {
        project: project.to_owned(),
        storage: location.storage.to_string(),
        bucket: location.bucket.to_string(),
        key: location.key.to_string(),
        delivery: resolved.delivery().as_str(),
    }
}

fn may_see(annotator: &Annotator, task: &Task) -> bool {
    task.assignees.is_empty() || task.assignees.contains(&annotator.subject)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names = names;
    let first: Vec<_> = names.by_ref().take(LISTED).collect();
    let more = names.count();
    match (first.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
