//! Lists on a real file system: what is found, what is refused and where, and how soon a change is in force.

mod mistakes;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;
use crate::access::{Denied, authorize};
use crate::auth::Scope;
use crate::project::MediaRule;

const LIST: &str = include_str!("../../../tests/data/projects.toml");
const TASKS: &str = r#"{"id": 1001, "data": {"video": "s3://acme-recordings/a.mp4"}}

{"id": 1002, "assignees": ["bo@example.com"], "data": {"deep": [{"html": "<img src=\"s3://acme-recordings/b c.png\">"}, 7, null, true, 0.5]}, "annotations": [{"text": "s3://acme-recordings/not-data.png"}]}
"#;

struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    /// The example, with the task file it names.
    fn example() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().to_owned();
        let place = Self {
            _directory: directory,
            root,
        };
        place.write("projects.toml", LIST);
        place.write("tasks-42.jsonl", TASKS);
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.root.join(name), text).expect("written");
    }

    /// As careful editors and configuration tools write.
    fn replace(&self, name: &str, text: &str) {
        let next = format!("{name}.next");
        self.write(&next, text);
        std::fs::rename(self.root.join(next), self.root.join(name)).expect("renamed");
    }

    fn open(&self) -> Result<Arc<FileAuthority>, Problems> {
        FileAuthority::open(self.root.join("projects.toml"), MediaRule::Task)
    }
}

fn annotator(subject: &str) -> Annotator {
    Annotator {
        subject: subject.into(),
        groups: vec![],
        expires_at: SystemTime::now() + Duration::from_secs(3600),
        scope: Scope::default(),
        presented: None,
    }
}

async fn decide(
    authority: &FileAuthority,
    subject: &str,
    target: &Target,
    uri: &str,
) -> Result<Vec<String>, Denied> {
    let annotator = annotator(subject);
    let uri = MediaUri::parse(uri).expect("a media uri");
    let facts = authority.entitle(&annotator, target, &uri).await;
    let facts = facts.expect("the list answers");
    let permit = authorize(&annotator, &facts, target, &uri, SystemTime::now())?;
    Ok(permit.projects().iter().map(|p| p.id.to_string()).collect())
}

/// Waits until the list was read again.
async fn reloaded(changed: &mut watch::Receiver<u64>) {
    tokio::time::timeout(Duration::from_secs(10), changed.changed())
        .await
        .expect("the change is noticed")
        .expect("the authority lives");
}

#[tokio::test]
async fn the_example_loads_and_decides_as_it_says() {
    let authority = Place::example().open().expect("the example loads");
    assert_eq!(authority.size(), (2, 3));
    let (anna, bo, chen) = ("anna@example.com", "bo@example.com", "chen@example.com");
    let task = |id: &str| Target::Task(id.into());
    let project = |id: &str| Target::Project(id.into());
    let (video, image) = ("s3://acme-recordings/a.mp4", "s3://acme-recordings/b c.png");
    let intro = "/data/local-files/?d=clips/intro.wav";
    for (subject, target, uri, expected) in [
        (anna, task("1001"), video, Ok("42")),
        (anna, task("1001"), image, Err(Denied::NotInTask)),
        (anna, task("1002"), image, Err(Denied::NotAssigned)),
        (bo, task("1002"), image, Ok("42")),
        (anna, task("7"), intro, Err(Denied::NotAssigned)),
        (bo, task("7"), intro, Ok("42")),
        (anna, task("9"), video, Err(Denied::Unknown)),
        (chen, task("1001"), video, Err(Denied::NotMember)),
        (anna, project("42"), video, Ok("42")),
        (anna, project("42"), image, Err(Denied::NotInTask)),
        (
            bo,
            project("42"),
            "s3://acme-recordings/not-data.png",
            Err(Denied::NotInTask),
        ),
        (anna, project("43"), video, Err(Denied::NotMember)),
        (chen, project("43"), "s3://any/thing", Ok("43")),
        (anna, project("44"), video, Err(Denied::Unknown)),
        (bo, Target::AnyProject, intro, Ok("42")),
        (anna, Target::AnyProject, intro, Err(Denied::NotInTask)),
        (chen, Target::AnyProject, intro, Ok("43")),
    ] {
        let decided = decide(&authority, subject, &target, uri).await;
        let expected = expected.map(|id| vec![id.to_owned()]);
        assert_eq!(decided, expected, "{subject} {target:?} {uri}");
    }
}

#[tokio::test]
async fn a_json_array_is_read_like_json_lines() {
    let place = Place::example();
    let array = format!("\n[{}]\n", TASKS.trim().replace("\n\n", ",\n"));
    place.write("tasks-42.jsonl", &array);
    let authority = place.open().expect("it loads");
    assert_eq!(authority.size(), (2, 3));
    let target = Target::Task("1001".into());
    let decided = decide(
        &authority,
        "anna@example.com",
        &target,
        "s3://acme-recordings/a.mp4",
    );
    assert!(decided.await.is_ok());
}

#[tokio::test]
async fn an_added_member_is_in_force_and_a_removed_one_is_out() {
    let place = Place::example();
    let authority = place.open().expect("it loads");
    let mut changed = authority.changed();
    let (target, video) = (Target::Task("1001".into()), "s3://acme-recordings/a.mp4");
    place.write("projects.toml", &LIST.replace("anna@", "dora@"));
    // A file that is written in place may be read half-way first; the whole one follows.
    while decide(&authority, "dora@example.com", &target, video)
        .await
        .is_err()
    {
        reloaded(&mut changed).await;
    }
    let decided = decide(&authority, "anna@example.com", &target, video).await;
    assert_eq!(decided, Err(Denied::NotMember));
    assert!(*changed.borrow() > 0);
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_rename_is_read_again() {
    let place = Place::example();
    let authority = place.open().expect("it loads");
    let mut changed = authority.changed();
    for name in ["c.mp4", "d.mp4", "e.mp4"] {
        let tasks = TASKS.replace("a.mp4", name);
        place.replace("tasks-42.jsonl", &tasks);
        let uri = format!("s3://acme-recordings/{name}");
        let target = Target::Task("1001".into());
        while decide(&authority, "anna@example.com", &target, &uri)
            .await
            .is_err()
        {
            reloaded(&mut changed).await;
        }
    }
    assert!(authority.last_reload_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn a_swapped_directory_link_is_a_change() {
    use std::os::unix::fs::symlink;
    // As Kubernetes mounts a ConfigMap: projects.toml -> ..data/projects.toml, ..data -> ..1, then -> ..2.
    let place = Place::example();
    let config = place.root.join("config");
    for (version, list) in [
        ("..1", LIST.to_owned()),
        ("..2", LIST.replace("anna@", "dora@")),
    ] {
        std::fs::create_dir_all(config.join(version)).expect("made");
        place.write(&format!("config/{version}/projects.toml"), &list);
        place.write(&format!("config/{version}/tasks-42.jsonl"), TASKS);
    }
    symlink("..1", config.join("..data")).expect("linked");
    for name in ["projects.toml", "tasks-42.jsonl"] {
        symlink(Path::new("..data").join(name), config.join(name)).expect("linked");
    }
    let authority = FileAuthority::open(config.join("projects.toml"), MediaRule::Task);
    let authority = authority.expect("it loads");
    let mut changed = authority.changed();
    symlink("..2", config.join("..data.next")).expect("linked");
    std::fs::rename(config.join("..data.next"), config.join("..data")).expect("swapped");
    reloaded(&mut changed).await;
    let (target, video) = (Target::Task("1001".into()), "s3://acme-recordings/a.mp4");
    assert!(
        decide(&authority, "dora@example.com", &target, video)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_list_until_it_is_mended() {
    let place = Place::example();
    let authority = place.open().expect("it loads");
    let mut changed = authority.changed();
    let (target, video) = (Target::Task("1001".into()), "s3://acme-recordings/a.mp4");
    let emptied = LIST.replace("storages = [\"slides\"]", "storage = [\"slides\"]");
    for (name, broken, whole) in [
        ("projects.toml", emptied.as_str(), LIST),
        ("tasks-42.jsonl", "{\"id\": 1001, ", TASKS),
    ] {
        place.replace(name, broken);
        while authority.last_reload_ok() {
            reloaded(&mut changed).await;
        }
        let generation = *changed.borrow_and_update();
        assert!(
            decide(&authority, "anna@example.com", &target, video)
                .await
                .is_ok()
        );
        place.replace(name, whole);
        while !authority.last_reload_ok() {
            reloaded(&mut changed).await;
        }
        assert!(*changed.borrow_and_update() > generation);
    }
    std::fs::remove_file(place.root.join("projects.toml")).expect("removed");
    while authority.last_reload_ok() {
        reloaded(&mut changed).await;
    }
    assert!(
        decide(&authority, "anna@example.com", &target, video)
            .await
            .is_ok()
    );
}

#[test]
fn a_storage_that_is_not_configured_is_located() {
    let authority = Place::example().open().expect("it loads");
    let configured: Vec<StorageId> = vec!["recordings".into(), "slides".into()];
    let problems = authority
        .check_storages(&configured)
        .expect_err("one is not");
    assert_eq!(problems.0.len(), 1);
    let problem = problems.0[0].to_string();
    assert!(
        problem.contains("projects.toml:5: project[0].storages[1]: "),
        "{problem}"
    );
    assert!(problem.contains("\"workstation\""), "{problem}");
    let all = [configured, vec!["workstation".into()]].concat();
    assert!(authority.check_storages(&all).is_ok());
}

#[tokio::test]
async fn a_hundred_thousand_tasks_load_and_are_found() {
    use std::fmt::Write;
    let place = Place::example();
    let mut tasks = String::new();
    for id in 10_000..110_000 {
        writeln!(
            tasks,
            "{{\"id\": {id}, \"data\": {{\"image\": \"s3://acme-recordings/shared.png\", \"video\": \"s3://acme-recordings/{id}.mp4\"}}}}"
        )
        .expect("written");
    }
    place.write("tasks-42.jsonl", &tasks);
    let authority = place.open().expect("it loads");
    assert_eq!(authority.size(), (2, 100_001));
    let target = Target::Task("77777".into());
    for (uri, expected) in [
        ("s3://acme-recordings/77777.mp4", Ok(vec!["42".to_owned()])),
        ("s3://acme-recordings/shared.png", Ok(vec!["42".to_owned()])),
        ("s3://acme-recordings/77778.mp4", Err(Denied::NotInTask)),
    ] {
        let decided = decide(&authority, "anna@example.com", &target, uri).await;
        assert_eq!(decided, expected);
    }
}
