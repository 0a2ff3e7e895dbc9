//! The decision: facts in, a [`Permit`] or a reason out. Pure: no I/O, no clock but the one handed in.

use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::Annotator;
use crate::authority::{Candidate, Entitlement, Target};
use crate::ids::{StorageId, Subject};
use crate::media_uri::MediaUri;
use crate::project::{MediaRule, Place, Project, Task};

/// Proof that this annotator may see this media now. Made by [`authorize`] alone.
#[derive(Clone, Debug)]
pub struct Permit {
    subject: Subject,
    uri: MediaUri,
    projects: Vec<Arc<Project>>,
    place: Option<Place>,
}

impl Permit {
    /// Who was permitted.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What was permitted.
    pub fn uri(&self) -> &MediaUri {
        &self.uri
    }

    /// The projects it was permitted through; the first stands in the log.
    pub fn projects(&self) -> &[Arc<Project>] {
        &self.projects
    }

    /// Where the access source says that the media lies, for when none of the storages holds it. Only the word of a
    /// project that permits counts.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The storages that the media may come from.
    pub fn storages(&self) -> impl Iterator<Item = &StorageId> {
        self.projects.iter().flat_map(|project| &project.storages)
    }
}

#[cfg(test)]
impl Permit {
    /// A permit out of nothing, for the tests of the rooms behind this one.
    pub(crate) fn for_test(uri: MediaUri, projects: Vec<Arc<Project>>) -> Self {
        let subject = Subject::from("anna@example.com");
        Self {
            subject,
            uri,
            projects,
            place: None,
        }
    }

    /// The same with a place.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

/// Why somebody may not see something: for the log, a metric's label and `explain`; the client sees one and the same 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token names another task or other media.
    #[error("the token is for another task or other media")]
    OutsideScope,
    /// The token has expired since it was verified.
    #[error("the token has expired")]
    Expired,
    /// There is no such task or project, or no project of theirs has such media.
    #[error("no such task or project")]
    Unknown,
    /// The annotator is neither a member nor in a group of the project.
    #[error("not a member of the project")]
    NotMember,
    /// The task is assigned to others.
    #[error("the task is assigned to others")]
    NotAssigned,
    /// The media occurs in no task that the annotator may see.
    #[error("the task's data does not name this media")]
    NotInTask,
    /// No storage of the project holds such a URI within its prefix and pattern.
    #[error("no storage of the project holds this uri")]
    NoStorage,
}

/// Decides. `now` is compared with the token's own end. Where several projects could permit, all that do are in the
/// permit; where none does, the reason is the one of the project that came nearest.
pub fn authorize(
    annotator: &Annotator,
    entitlement: &Entitlement,
    target: &Target,
    uri: &MediaUri,
    now: SystemTime,
) -> Result<Permit, Denied> {
    if now >= annotator.expires_at {
        return Err(Denied::Expired);
    }
    if !within_scope(annotator, target, uri) {
        return Err(Denied::OutsideScope);
    }
    let mut projects = vec![];
    let mut place = None;
    let mut nearest = Denied::Unknown;
    for candidate in &entitlement.candidates {
        match permits(annotator, candidate, target) {
            Ok(()) => {
                projects.push(Arc::clone(&candidate.project));
                place = place.or_else(|| candidate.place.clone());
            }
            Err(denied) if closeness(denied) > closeness(nearest) => nearest = denied,
            Err(_) => {}
        }
    }
    if projects.is_empty() {
        return Err(nearest);
    }
    Ok(Permit {
        subject: annotator.subject.clone(),
        uri: uri.clone(),
        projects,
        place,
    })
}

fn within_scope(annotator: &Annotator, target: &Target, uri: &MediaUri) -> bool {
    let scope = &annotator.scope;
    let task = match (&scope.task, target) {
        (None, _) => true,
        (Some(only), Target::Task(asked)) => only == asked,
        (Some(_), Target::Project(_) | Target::AnyProject) => false,
    };
    task && scope.uri.as_ref().is_none_or(|only| only == uri)
}

fn permits(annotator: &Annotator, candidate: &Candidate, target: &Target) -> Result<(), Denied> {
    let project = &candidate.project;
    // A source that answers about something else than was asked is not believed.
    if matches!(target, Target::Project(asked) if *asked != project.id) {
        return Err(Denied::Unknown);
    }
    let in_group = || annotator.groups.iter().any(|g| project.groups.contains(g));
    if !project.members.contains(&annotator.subject) && !in_group() {
        return Err(Denied::NotMember);
    }
    if let Target::Task(asked) = target {
        match &candidate.task {
            Some(task) if task.id != *asked || task.project != project.id => {
                return Err(Denied::Unknown);
            }
            Some(task) if !may_see(annotator, task) => return Err(Denied::NotAssigned),
            Some(_) => {}
            None => return Err(Denied::Unknown),
        }
    }
    match project.media {
        MediaRule::Storage => Ok(()),
        MediaRule::Task if candidate.naming.iter().any(|task| may_see(annotator, task)) => Ok(()),
        MediaRule::Task => Err(Denied::NotInTask),
    }
}

fn may_see(annotator: &Annotator, task: &Task) -> bool {
    task.assignees.is_empty() || task.assignees.contains(&annotator.subject)
}

/// How far a request came before it was denied: what is worth telling an operator where several projects denied it.
fn closeness(denied: Denied) -> u8 {
    match denied {
        Denied::Unknown => 0,
        Denied::NotMember => 1,
        Denied::NotAssigned => 2,
        Denied::NotInTask => 3,
        Denied::OutsideScope | Denied::Expired | Denied::NoStorage => 4,
    }
}

#[cfg(test)]
mod tests;
