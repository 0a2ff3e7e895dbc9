//! The access list as it is asked: by task, by project and media, by media alone. No lookup scans.
//!
//! Built once, then only read: a change makes another index.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Candidate, Target};
use crate::ids::{ProjectId, StorageId, TaskId};
use crate::located::Located;
use crate::media_uri::MediaUri;
use crate::project::{MediaRule, Project, Task};

/// A project's number: its place in the list.
type ProjectNumber = u32;
/// A task's number, in the order of loading: a project's tasks ascend.
type TaskNumber = u32;

/// An access list that holds together.
#[derive(Debug, Default)]
pub struct Index {
    projects: Vec<Arc<Project>>,
    by_id: HashMap<ProjectId, ProjectNumber>,
    /// Projects that show whatever their storages hold.
    open: Vec<ProjectNumber>,
    tasks: HashMap<TaskId, (TaskNumber, ProjectNumber, Arc<Task>)>,
    named: HashMap<MediaUri, Vec<Naming>>,
    storages: Vec<(StorageId, Located)>,
    /// Each project's own rule, where it was written.
    rules: Vec<Option<MediaRule>>,
}

/// The tasks of one project that name one media; a media's namings ascend by project.
#[derive(Debug)]
struct Naming {
    project: ProjectNumber,
    numbers: Vec<TaskNumber>,
    tasks: Arc<[Arc<Task>]>,
}

impl Index {
    /// The candidates for a question, as [`super::Authority::entitle`] answers it.
    pub fn candidates(&self, target: &Target, uri: &MediaUri) -> Vec<Candidate> {
        match target {
            Target::Task(id) => self.of_task(id, uri).into_iter().collect(),
            Target::Project(id) => {
                let project = self.by_id.get(id);
                let candidate = project.map(|&number| self.candidate(number, uri));
                candidate.into_iter().collect()
            }
            Target::AnyProject => self.of_any(uri),
        }
    }

    /// The storages that projects name, each with the place for an error about it.
    pub fn storages(&self) -> &[(StorageId, Located)] {
        &self.storages
    }

    /// How many projects and tasks there are.
    pub fn size(&self) -> (usize, usize) {
        (self.projects.len(), self.tasks.len())
    }

    /// Every project in the order of the list, with the rule that was written for it and its tasks in their order.
    pub fn contents(&self) -> Vec<(&Project, Option<MediaRule>, Vec<&Task>)> {
        let mut tasks: Vec<Vec<_>> = self.projects.iter().map(|_| vec![]).collect();
        for (number, project, task) in self.tasks.values() {
            tasks[*project as usize].push((*number, &**task));
        }
        let projects = self.projects.iter().zip(&self.rules).zip(tasks);
        let ordered = projects.map(|((project, rule), mut tasks)| {
            tasks.sort_unstable_by_key(|(number, _)| *number);
            let tasks = tasks.into_iter().map(|(_, task)| task).collect();
            (&**project, *rule, tasks)
        });
        ordered.collect()
    }

    /// A project, and the media that its tasks name: in the order of the list, each once.
    pub fn media(&self, project: &ProjectId) -> Option<(Arc<Project>, Vec<MediaUri>)> {
        let number = *self.by_id.get(project)?;
        let tasks = self.tasks.values();
        let mut tasks: Vec<_> = tasks.filter(|(_, of, _)| *of == number).collect();
        tasks.sort_unstable_by_key(|(number, ..)| *number);
        let mut seen = HashSet::new();
        let media = tasks.into_iter().flat_map(|(_, _, task)| &task.media);
        let media = media.filter(|uri| seen.insert(*uri)).cloned().collect();
        Some((Arc::clone(&self.projects[number as usize]), media))
    }

    fn of_task(&self, id: &TaskId, uri: &MediaUri) -> Option<Candidate> {
        let (number, project, task) = self.tasks.get(id)?;
        let names = self
            .naming(*project, uri)
            .is_some_and(|naming| naming.numbers.binary_search(number).is_ok());
        let naming = names.then(|| Arc::clone(task));
        Some(Candidate {
            project: Arc::clone(&self.projects[*project as usize]),
            task: Some(Arc::clone(task)),
            naming: naming.into_iter().collect(),
            place: None,
        })
    }

    fn of_any(&self, uri: &MediaUri) -> Vec<Candidate> {
        let namings = self.named.get(uri).map_or(&[][..], Vec::as_slice);
        let naming = namings.iter().map(|naming| naming.project);
        let open = self.open.iter().copied();
        let open = open.filter(|&project| self.naming(project, uri).is_none());
        naming
            .chain(open)
            .map(|project| self.candidate(project, uri))
            .collect()
    }

    fn candidate(&self, project: ProjectNumber, uri: &MediaUri) -> Candidate {
        let naming = self.naming(project, uri);
        Candidate {
            project: Arc::clone(&self.projects[project as usize]),
            task: None,
            naming: naming.map_or_else(Arc::default, |naming| Arc::clone(&naming.tasks)),
            place: None,
        }
    }

    fn naming(&self, project: ProjectNumber, uri: &MediaUri) -> Option<&Naming> {
        let namings = self.named.get(uri)?;
        let found = namings.binary_search_by_key(&project, |naming| naming.project);
        found.ok().map(|at| &namings[at])
    }
}

type NamingTasks = Vec<(TaskNumber, Arc<Task>)>;

/// An index under construction: a project, then its tasks, then the next.
#[derive(Default)]
pub struct Builder {
    index: Index,
    named: HashMap<MediaUri, Vec<(ProjectNumber, NamingTasks)>>,
}

impl Builder {
    /// Begins a project; its id must be new. `rule`: the one that was written for it, where one was.
    pub fn project(
        &mut self,
        project: Project,
        rule: Option<MediaRule>,
        storages: Vec<(StorageId, Located)>,
    ) -> Result<(), String> {
        let number = self.index.projects.len() as ProjectNumber;
        if self.index.by_id.contains_key(&project.id) {
            return Err(format!(
                "two projects have the id {:?}",
                project.id.as_str()
            ));
        }
        self.index.by_id.insert(project.id.clone(), number);
        if project.media == MediaRule::Storage {
            self.index.open.push(number);
        }
        self.index.projects.push(Arc::new(project));
        self.index.rules.push(rule);
        self.index.storages.extend(storages);
        Ok(())
    }

    /// Adds a task to the project that was begun last; its id must be new in the whole list.
    pub fn task(&mut self, task: Task) -> Result<(), String> {
        if let Some((_, _, first)) = self.index.tasks.get(&task.id) {
            let (id, project) = (task.id.as_str(), first.project.as_str());
            return Err(format!(
                "the task id {id:?} is used twice, first in project {project:?}"
            ));
        }
        let number = self.index.tasks.len() as TaskNumber;
        let project = self.index.projects.len().saturating_sub(1) as ProjectNumber;
        let task = Arc::new(task);
        for uri in &task.media {
            let namings = self.named.entry(uri.clone()).or_default();
            let entry = (number, Arc::clone(&task));
            match namings.last_mut() {
                Some((last, tasks)) if *last == project => tasks.push(entry),
                _ => namings.push((project, vec![entry])),
            }
        }
        let id = task.id.clone();
        self.index.tasks.insert(id, (number, project, task));
        Ok(())
    }

    /// The finished index.
    pub fn build(mut self) -> Index {
        let named = self.named.into_iter().map(|(uri, namings)| {
            let namings = namings.into_iter().map(|(project, tasks)| {
                let (numbers, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
                let tasks = tasks.into();
                Naming {
                    project,
                    numbers,
                    tasks,
                }
            });
            (uri, namings.collect())
        });
        self.index.named = named.collect();
        self.index
    }
}
