//! `/data/local-files/`: which of the caller's projects has a local storage that covers the file.
//!
//! Label Studio's storages lie below its document root, and so must Lockgate's own local storage: its `root` is that
//! directory, under the same path. A file lies in a storage component by component, as in Label Studio's own view
//! (`io_storages/localfiles/views.py`), and never in one of a similar name.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};

use super::answers::Storage;
use super::questions::{Kind, Not, Said};
use super::{Case, Facts, LabelStudioAuthority};
use crate::authority::{Candidate, Entitlement};
use crate::ids::ProjectId;
use crate::project::{MediaRule, Place, Project};

/// What stands in the log for the project where Label Studio is left to decide by itself.
const ANY_PROJECT: &str = "local-files";

/// So many projects are asked about at a time.
const AT_A_TIME: usize = 4;

impl LabelStudioAuthority {
    /// The projects through which the caller may see a local file. Without any local storage of Lockgate's own the
    /// request is Label Studio's, decision and all; what one does not hold is nobody's.
    pub(super) async fn on_any_project(&self, case: &Case<'_>) -> Said<Entitlement> {
        let own = (self.own.holding)(case.uri);
        if !self.own.local_files {
            return self.left_to_it(case).await;
        }
        if own.is_empty() {
            return Err(Not::Permitted);
        }
        let projects = self.questions.with_local_files(case.caller).await?;
        let asked = projects
            .iter()
            .cloned()
            .map(|project| async move { self.through(case, &project).await });
        let mut answers = stream::iter(asked).buffered(AT_A_TIME);
        let mut found = Entitlement {
            candidates: Vec::new(),
            as_of: Instant::now(),
        };
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some((candidate, as_of))) => {
                    found.as_of = found.as_of.min(as_of);
                    let names = !candidate.naming.is_empty();
                    let permits = names || candidate.project.media == MediaRule::Storage;
                    found.candidates.push(candidate);
                    // One that permits is enough.
                    if permits {
                        break;
                    }
                }
                // The project was taken from them since it was listed.
                Ok(None) | Err(Not::Permitted) => {}
                Err(not) => return Err(not),
            }
        }
        Ok(found)
    }

    /// What one project says; nothing where none of its storages covers the file.
    async fn through(
        &self,
        case: &Case<'_>,
        project: &ProjectId,
    ) -> Said<Option<(Candidate, Instant)>> {
        let listed = self
            .questions
            .storages(case.caller, project, Kind::LocalFiles)
            .await;
        let own = (self.own.holding)(case.uri);
        let storages = listed.value?;
        if !own.iter().any(|held| super::may_serve(held, &storages)) {
            return Ok(None);
        }
        let mut facts: Facts = self.on_project(case, project).await?;
        facts.as_of = facts.as_of.min(listed.asked_at);
        self.candidate(case, facts).await.map(Some)
    }

    /// Label Studio's decision about a file that it has itself.
    async fn left_to_it(&self, case: &Case<'_>) -> Said<Entitlement> {
        // In the spelling that its view reads as this very path: it knows no other than the normal form.
        let question = case.uri.to_string();
        let sends = self.questions.sends(case.caller, &question).await;
        sends.value?;
        Ok(of_any_project(case, &question, sends.asked_at))
    }
}

fn of_any_project(case: &Case<'_>, question: &str, as_of: Instant) -> Entitlement {
    let project = Project {
        id: ProjectId::from(ANY_PROJECT),
        storages: Vec::new(),
        members: [case.annotator.subject.clone()].into(),
        groups: Default::default(),
        media: MediaRule::Storage,
    };
    let candidate = Candidate {
        project: Arc::new(project),
        task: None,
        naming: Arc::default(),
        place: Some(Place::Application(question.into())),
    };
    Entitlement {
        candidates: vec![candidate],
        as_of,
    }
}

/// Whether one of the storages has the file `path` below `root`.
pub(super) fn covers(listed: &[Storage], root: Option<&Path>, path: &str) -> bool {
    let Some(file) = root.map(|root| root.join(path)) else {
        return false;
    };
    let directories = listed.iter().filter_map(|storage| storage.path.as_deref());
    directories.map(Path::new).any(|directory| {
        directory.is_absolute() && file.starts_with(directory) && file != directory
    })
}
