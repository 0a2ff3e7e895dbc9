//! The decision: facts in, a [`Permit`] or a reason out. Pure: no I/O, no clock but the one handed in.

use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::Annotator;
use crate::authority::{Entitlement, Target};
use crate::ids::{StorageId, Subject};
use crate::media_uri::MediaUri;
use crate::project::Project;

/// Proof that this annotator may see this media now. Made by [`authorize`] alone.
#[derive(Clone, Debug)]
pub struct Permit {
    subject: Subject,
    uri: MediaUri,
    projects: Vec<Arc<Project>>,
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
        }
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

/// Decides. `now` is compared with the token's own end.
pub fn authorize(
    annotator: &Annotator,
    entitlement: &Entitlement,
    target: &Target,
    uri: &MediaUri,
    now: SystemTime,
) -> Result<Permit, Denied> {
    let _ = (annotator, entitlement, target, uri, now);
    Err(Denied::Unknown)
}
