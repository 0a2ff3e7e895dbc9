//! The decision as a table: one row per rule of contract §3.

use std::time::{Duration, Instant};

use super::*;
use crate::auth::Scope;
use crate::ids::{ProjectId, TaskId};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn uri(name: &str) -> MediaUri {
    MediaUri::Object {
        provider: crate::media_uri::Provider::S3,
        bucket: "bucket".into(),
        key: name.into(),
        account: None,
    }
}

/// Anna: a member of project 1 by name, and of project 2 by the group `labelers`.
fn anna() -> Annotator {
    Annotator {
        subject: "anna".into(),
        groups: vec!["labelers".into()],
        expires_at: NOW + Duration::from_secs(60),
        scope: Scope::default(),
        presented: None,
    }
}

fn project(id: &str, members: &[&str], groups: &[&str], media: MediaRule) -> Arc<Project> {
    Arc::new(Project {
        id: id.into(),
        storages: vec![StorageId::from("recordings")],
        members: members.iter().map(|&m| m.into()).collect(),
        groups: groups.iter().map(|&g| g.into()).collect(),
        media,
    })
}

fn task(id: &str, project: &str, assignees: &[&str]) -> Arc<Task> {
    Arc::new(Task {
        id: id.into(),
        project: project.into(),
        assignees: assignees.iter().map(|&a| a.into()).collect(),
        media: vec![uri("a")],
    })
}

fn candidate(project: Arc<Project>, task: Option<Arc<Task>>, naming: &[Arc<Task>]) -> Candidate {
    Candidate {
        project,
        task,
        naming: naming.to_vec().into(),
        place: None,
    }
}

fn decide(
    annotator: &Annotator,
    target: &Target,
    candidates: Vec<Candidate>,
) -> Result<Vec<String>, Denied> {
    let entitlement = Entitlement {
        candidates,
        as_of: Instant::now(),
    };
    let permit = authorize(annotator, &entitlement, target, &uri("a"), NOW)?;
    assert_eq!(permit.subject(), &annotator.subject);
    assert_eq!(permit.uri(), &uri("a"));
    let ids = permit.projects().iter().map(|p| p.id.to_string());
    Ok(ids.collect())
}

#[test]
fn a_task_route_asks_for_member_assignee_and_media() {
    let (by_task, by_storage) = (MediaRule::Task, MediaRule::Storage);
    let free = task("7", "1", &[]);
    let annas = task("7", "1", &["bo", "anna"]);
    let bos = task("7", "1", &["bo"]);
    let foreign = task("7", "2", &[]);
    let other = task("8", "1", &[]);
    let (anna_in, bo_in, nobody) = (&["anna"][..], &["bo"][..], &[][..]);
    for (members, groups, media, the_task, names, expected) in [
        (anna_in, nobody, by_task, Some(&free), true, None),
        (anna_in, nobody, by_task, Some(&annas), true, None),
        (nobody, &["labelers"][..], by_task, Some(&free), true, None),
        (anna_in, nobody, by_storage, Some(&free), false, None),
        (
            bo_in,
            nobody,
            by_task,
            Some(&free),
            true,
            Some(Denied::NotMember),
        ),
        (
            nobody,
            nobody,
            by_task,
            Some(&free),
            true,
            Some(Denied::NotMember),
        ),
        (
            nobody,
            &["anna"][..],
            by_task,
            Some(&free),
            true,
            Some(Denied::NotMember),
        ),
        (
            bo_in,
            nobody,
            by_storage,
            Some(&free),
            true,
            Some(Denied::NotMember),
        ),
        (
            anna_in,
            nobody,
            by_task,
            Some(&bos),
            true,
            Some(Denied::NotAssigned),
        ),
        (
            anna_in,
            nobody,
            by_storage,
            Some(&bos),
            true,
            Some(Denied::NotAssigned),
        ),
        (
            anna_in,
            nobody,
            by_task,
            Some(&free),
            false,
            Some(Denied::NotInTask),
        ),
        (anna_in, nobody, by_task, None, false, Some(Denied::Unknown)),
        (
            anna_in,
            nobody,
            by_storage,
            None,
            false,
            Some(Denied::Unknown),
        ),
        (
            anna_in,
            nobody,
            by_task,
            Some(&foreign),
            true,
            Some(Denied::Unknown),
        ),
        (
            anna_in,
            nobody,
            by_task,
            Some(&other),
            true,
            Some(Denied::Unknown),
        ),
    ] {
        let the_task = the_task.cloned();
        let naming: Vec<_> = the_task.iter().filter(|_| names).cloned().collect();
        let candidate = candidate(project("1", members, groups, media), the_task, &naming);
        let target = Target::Task("7".into());
        let decided = decide(&anna(), &target, vec![candidate.clone()]);
        assert_eq!(decided.err(), expected, "{candidate:?}");
    }
}

#[test]
fn a_project_route_asks_for_some_task_that_the_annotator_may_see() {
    let members = &["anna"][..];
    for (media, naming, expected) in [
        (MediaRule::Task, vec![task("7", "1", &[])], None),
        (
            MediaRule::Task,
            vec![task("7", "1", &["bo"]), task("8", "1", &["anna"])],
            None,
        ),
        (
            MediaRule::Task,
            vec![task("7", "1", &["bo"])],
            Some(Denied::NotInTask),
        ),
        (MediaRule::Task, vec![], Some(Denied::NotInTask)),
        (MediaRule::Storage, vec![], None),
    ] {
        let candidate = candidate(project("1", members, &[], media), None, &naming);
        for target in [Target::Project(ProjectId::from("1")), Target::AnyProject] {
            let decided = decide(&anna(), &target, vec![candidate.clone()]);
            assert_eq!(decided.err(), expected, "{target:?} {candidate:?}");
        }
        let elsewhere = Target::Project("2".into());
        let decided = decide(&anna(), &elsewhere, vec![candidate]);
        assert_eq!(decided, Err(Denied::Unknown));
    }
}

#[test]
fn every_project_that_permits_is_in_the_permit_and_no_other() {
    let candidates = vec![
        candidate(project("1", &["bo"], &[], MediaRule::Storage), None, &[]),
        candidate(
            project("2", &[], &["labelers"], MediaRule::Storage),
            None,
            &[],
        ),
        candidate(project("3", &["anna"], &[], MediaRule::Task), None, &[]),
        candidate(project("4", &["anna"], &[], MediaRule::Storage), None, &[]),
    ];
    let decided = decide(&anna(), &Target::AnyProject, candidates.clone());
    assert_eq!(decided, Ok(vec!["2".to_owned(), "4".to_owned()]));

    let denied = vec![candidates[2].clone(), candidates[0].clone()];
    let decided = decide(&anna(), &Target::AnyProject, denied);
    assert_eq!(decided, Err(Denied::NotInTask), "the nearest reason");
    assert_eq!(
        decide(&anna(), &Target::AnyProject, vec![]),
        Err(Denied::Unknown)
    );
}

#[test]
fn a_token_ends_at_its_exp_and_not_after() {
    let open = candidate(project("1", &["anna"], &[], MediaRule::Storage), None, &[]);
    for (expires_at, expected) in [
        (NOW + Duration::from_secs(1), None),
        (NOW, Some(Denied::Expired)),
        (NOW - Duration::from_secs(1), Some(Denied::Expired)),
    ] {
        let annotator = Annotator {
            expires_at,
            ..anna()
        };
        let decided = decide(&annotator, &Target::AnyProject, vec![open.clone()]);
        assert_eq!(decided.err(), expected);
    }
}

#[test]
fn a_scoped_token_opens_its_own_task_and_media_alone() {
    let the_task = task("7", "1", &[]);
    let naming = [Arc::clone(&the_task)];
    let open = project("1", &["anna"], &[], MediaRule::Task);
    let open = candidate(open, Some(the_task), &naming);
    let routes = [
        Target::Task("7".into()),
        Target::Project("1".into()),
        Target::AnyProject,
    ];
    let (seven, eight) = (TaskId::from("7"), TaskId::from("8"));
    for (task, media, allowed) in [
        (None, None, [true, true, true]),
        (Some(&seven), None, [true, false, false]),
        (Some(&eight), None, [false, false, false]),
        (None, Some("a"), [true, true, true]),
        (None, Some("b"), [false, false, false]),
        (Some(&seven), Some("a"), [true, false, false]),
        (Some(&seven), Some("b"), [false, false, false]),
    ] {
        let scope = Scope {
            task: task.cloned(),
            uri: media.map(uri),
        };
        let annotator = Annotator { scope, ..anna() };
        for (route, allowed) in routes.iter().zip(allowed) {
            let decided = decide(&annotator, route, vec![open.clone()]);
            let expected = (!allowed).then_some(Denied::OutsideScope);
            assert_eq!(decided.err(), expected, "{:?} {route:?}", annotator.scope);
        }
    }
}

#[test]
fn the_place_is_the_word_of_a_project_that_permits() {
    let place = |project: &Arc<Project>, place: Option<Place>| Candidate {
        place,
        ..candidate(Arc::clone(project), None, &[])
    };
    let signed = |key: &str| {
        Place::Signed(crate::object::ObjectLocation {
            storage: "label-studio".into(),
            epoch: 1,
            bucket: "s3://bucket".into(),
            key: key.into(),
        })
    };
    let passed = Place::Application("/x".into());
    let annas = project("1", &["anna"], &[], MediaRule::Storage);
    let bos = project("2", &["bo"], &[], MediaRule::Storage);
    for (candidates, expected) in [
        (vec![place(&annas, None)], None),
        (vec![place(&annas, Some(signed("a")))], Some(signed("a"))),
        // The place of a project that denies is no place.
        (
            vec![place(&bos, Some(signed("b"))), place(&annas, None)],
            None,
        ),
        (
            vec![
                place(&bos, Some(signed("b"))),
                place(&annas, Some(passed.clone())),
                place(&annas, Some(signed("a"))),
            ],
            Some(passed.clone()),
        ),
    ] {
        let entitlement = Entitlement {
            candidates,
            as_of: Instant::now(),
        };
        let target = Target::AnyProject;
        let permit = authorize(&anna(), &entitlement, &target, &uri("a"), NOW).expect("permitted");
        assert_eq!(permit.place(), expected.as_ref());
    }
}
