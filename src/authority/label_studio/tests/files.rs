//! Local files, on Label Studio's own route and on a task's.

use super::*;

const FILE: &str = "/data/local-files/?d=ds/a%20b.txt";

/// One local storage of Lockgate's own, with Label Studio's document root for its root.
pub(super) fn own(uri: &MediaUri) -> Vec<Held> {
    match uri {
        MediaUri::Local { .. } => vec![Held {
            storage: "files".into(),
            uri: uri.clone(),
            root: Some("/files".into()),
        }],
        _ => vec![],
    }
}

async fn with_files(media: MediaRule) -> Fixture {
    with(media, MAX_AGE, own).await
}

#[tokio::test]
async fn a_file_of_a_project_with_a_storage_that_has_it_is_permitted() {
    let it = with_files(MediaRule::Task).await;
    for target in [Target::AnyProject, task("4"), project("3")] {
        let permit = it.ask("anna", target.clone(), FILE).await.permit();
        assert_eq!(permit.storages().count(), 1, "{target:?}");
        assert_eq!(permit.projects()[0].id.as_str(), "3");
    }
}

#[tokio::test]
async fn a_file_that_no_task_names_or_no_storage_covers_is_denied() {
    let it = with_files(MediaRule::Task).await;
    let unnamed = it
        .ask("anna", Target::AnyProject, "/data/local-files/?d=ds/z.txt")
        .await;
    assert_eq!(unnamed.denied(), Denied::NotInTask);
    // Its task is in a project without local files.
    let uncovered = it
        .ask(
            "anna",
            Target::AnyProject,
            "/data/local-files/?d=other/c.txt",
        )
        .await;
    assert_eq!(uncovered.denied(), Denied::Unknown);
    let by_task = it
        .ask("anna", task("6"), "/data/local-files/?d=other/c.txt")
        .await
        .permit();
    assert_eq!(by_task.storages().count(), 0);
}

#[tokio::test]
async fn the_rule_storage_keeps_to_directories_component_by_component() {
    let it = with_files(MediaRule::Storage).await;
    let file = async |d: &str| {
        let uri = format!("/data/local-files/?d={d}");
        it.ask("anna", Target::AnyProject, &uri).await
    };
    assert_eq!(file("ds/z.txt").await.permit().storages().count(), 1);
    assert_eq!(
        file("ds/deep/er/z.txt").await.permit().storages().count(),
        1
    );
    for outside in ["ds-private/z.txt", "ds", "z.txt", "other/ds/z.txt"] {
        assert_eq!(file(outside).await.denied(), Denied::Unknown, "{outside}");
    }
}

#[tokio::test]
async fn a_project_that_was_taken_away_is_denied_within_max_age() {
    let it = with_files(MediaRule::Storage).await;
    it.ask("anna", Target::AnyProject, FILE).await.permit();
    it.studio
        .say(|question| match question.path.contains("project=3") {
            true => status(403),
            false => studio(question),
        });
    it.ask("anna", Target::AnyProject, FILE).await.permit();
    it.later(5);
    let outcome = it.ask("anna", Target::AnyProject, FILE).await;
    assert_eq!(outcome.denied(), Denied::Unknown);
    // The list of projects was not asked for again, nor did it let anybody in.
    assert_eq!(it.studio.count("/api/projects/"), 1);
}

#[tokio::test]
async fn without_a_local_storage_the_request_is_label_studios() {
    let it = fixture().await;
    // In the one spelling of all of the caller's.
    let question = "/data/local-files/?d=ds/a%20%2B.txt";
    for spelling in ["ds%2Fa%20%2b.txt", "ds/a%20+.txt&d=other/c.txt"] {
        let uri = format!("/data/local-files/?d={spelling}");
        let permit = it.ask("anna", Target::AnyProject, &uri).await.permit();
        let place = Place::Application(question.into());
        assert_eq!(permit.place(), Some(&place), "{spelling}");
    }
    // It is asked first, once, and reads nothing for it.
    let asked = it.studio.asked();
    let asked: Vec<_> = asked.iter().map(|it| (&*it.path, &it.fields)).collect();
    let [(path, fields)] = asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(path, question);
    assert_eq!(fields["authorization"], "Token anna");
    assert_eq!(fields["if-none-match"], "*");
    assert_eq!(fields["range"], "bytes=0-0");
}

#[tokio::test]
async fn a_file_outside_the_local_storages_bounds_is_not_left_to_label_studio() {
    let inside = |uri: &MediaUri| match uri.to_string().contains("d=ds/") {
        true => own(uri),
        false => Vec::new(),
    };
    for media in [MediaRule::Task, MediaRule::Storage] {
        let it = with(media, MAX_AGE, inside).await;
        it.ask("anna", Target::AnyProject, FILE).await.permit();
        let outside = "/data/local-files/?d=other/c.txt";
        let outcome = it.ask("anna", Target::AnyProject, outside).await;
        assert_eq!(outcome.denied(), Denied::Unknown);
        assert_eq!(it.studio.count("/data/"), 0);
    }
}

#[tokio::test]
async fn a_file_that_label_studio_sends_no_more_is_denied_within_max_age() {
    for (said, expected) in [
        (403, "Denied(Unknown)"),
        (404, "Denied(Unknown)"),
        (401, "NotAuthenticated"),
        (302, "Unavailable"),
        (500, "Unavailable"),
    ] {
        let it = fixture().await;
        it.ask("anna", Target::AnyProject, FILE).await.permit();
        it.studio.say(move |_| status(said));
        it.ask("anna", Target::AnyProject, FILE).await.permit();
        it.later(5);
        let outcome = it.ask("anna", Target::AnyProject, FILE).await;
        assert_eq!(format!("{outcome:?}"), expected, "{said}");
        assert_eq!(it.questions(), 2);
    }
}

#[tokio::test]
async fn label_studios_word_about_a_file_is_never_anothers() {
    let it = fixture().await;
    it.ask("anna", Target::AnyProject, FILE).await.permit();
    it.studio.say(|_| status(404));
    let outcome = it.ask("bert", Target::AnyProject, FILE).await;
    assert_eq!(outcome.denied(), Denied::Unknown);
    let other = "/data/local-files/?d=ds/z.txt";
    let outcome = it.ask("anna", Target::AnyProject, other).await;
    assert_eq!(outcome.denied(), Denied::Unknown);
}
