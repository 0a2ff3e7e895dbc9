//! Projects and their tasks, as plain data: who belongs to them, which storages they use, which media they name.
//!
//! Ground: decides nothing (`access` does) and fetches nothing (`authority` does).

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::ids::{ProjectId, StorageId, Subject, TaskId};
use crate::media_uri::MediaUri;
use crate::object::ObjectLocation;

/// Which media an annotator of a project may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum MediaRule {
    /// Only what a task's own data names.
    #[default]
    Task,
    /// Whatever the project's storages hold within prefix and pattern.
    Storage,
}

/// Where media lies by the word of the access source, where no storage of Lockgate's own holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind a URL that the source signs; the object is named without the signature.
    Signed(ObjectLocation),
    /// Only with the annotation application: the request is passed on to it, for this path and query. They name what
    /// was permitted as the application reads it, which a client's own spelling of it may not.
    Application(Arc<str>),
}

/// How media reaches the annotator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Lockgate streams the bytes.
    #[default]
    Proxy,
    /// Lockgate answers 303 with a presigned URL.
    Redirect,
    /// The annotation application answers, once the request was permitted; what no storage can be configured to be.
    #[serde(skip)]
    Application,
}

impl Delivery {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Redirect => "redirect",
            Self::Application => "application",
        }
    }
}

/// A project of the access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id, as in the route.
    pub id: ProjectId,
    /// The storages its media may come from.
    pub storages: Vec<StorageId>,
    /// Annotators by subject.
    pub members: HashSet<Subject>,
    /// Groups (of the token's groups claim) whose annotators are members.
    pub groups: HashSet<Arc<str>>,
    /// Which media its members may see.
    pub media: MediaRule,
}

/// A task of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id, as in the route.
    pub id: TaskId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Who may see it; empty: every member of the project.
    pub assignees: Vec<Subject>,
    /// Every media URI that its data names, in the order found.
    pub media: Vec<MediaUri>,
}
