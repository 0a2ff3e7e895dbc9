//! The project's route: the media must occur in some task of the project.

use super::*;

#[tokio::test]
async fn what_some_task_of_the_project_names_is_permitted() {
    let it = fixture().await;
    for uri in ["s3://media/data/a.png", "s3://media/data/b%20c.png"] {
        it.ask("anna", project("1"), uri).await.signed();
    }
    assert_eq!(it.studio.count("/projects/1/resolve/"), 2);
    // Once, and not for each URI.
    assert_eq!(it.studio.count("/api/storages/s3/?project=1"), 1);
    let named = it
        .ask("anna", project("2"), "s3://media/data/a.png")
        .await
        .permit();
    let place = passed("/projects/2", "s3://media/data/a.png");
    assert_eq!(named.place(), Some(&place));
}

#[tokio::test]
async fn what_label_studio_only_takes_for_a_mention_is_none() {
    let it = fixture().await;
    // Its filter knows no case, and finds the words anywhere.
    for uri in [
        "s3://media/data/A.png",
        "s3://media/a.png",
        "s3://media/data/b c.png",
    ] {
        let outcome = it.ask("anna", project("1"), uri).await;
        assert_eq!(outcome.denied(), Denied::NotInTask, "{uri}");
    }
    assert_eq!(it.studio.count("/projects/"), 0);
}

#[tokio::test]
async fn the_rule_storage_asks_for_the_project_and_for_no_task() {
    let it = with(MediaRule::Storage, MAX_AGE, |_| Vec::new()).await;
    it.ask("anna", project("1"), "s3://media/data/other.png")
        .await
        .signed();
    assert_eq!(it.studio.count("/api/tasks"), 0);
    let outcome = it
        .ask("anna", project("9"), "s3://media/data/other.png")
        .await;
    assert_eq!(outcome.denied(), Denied::Unknown);
}

#[tokio::test]
async fn only_so_many_pages_are_read_for_a_mention() {
    let it = fixture().await;
    it.studio
        .say(|question| match question.path.starts_with("/api/tasks?") {
            true => {
                let task =
                    json!({"id": 1, "project": 1, "data": {"image": "s3://media/data/no.png"}});
                reply(json!({"tasks": vec![task; 20], "total": 1_000_000}))
            }
            false => studio(question),
        });
    let outcome = it.ask("anna", project("1"), "s3://media/data/a.png").await;
    assert_eq!(outcome.denied(), Denied::NotInTask);
    assert_eq!(it.studio.count("/api/tasks?"), 5);
}

#[tokio::test]
async fn another_projects_tasks_in_an_answer_are_not_believed() {
    let it = fixture().await;
    it.studio
        .say(|question| match question.path.starts_with("/api/tasks?") {
            true => reply(json!({"tasks": [&tasks()[2]], "total": 1})),
            false => studio(question),
        });
    let outcome = it.ask("anna", project("1"), "s3://media/data/a.png").await;
    assert_eq!(outcome.denied(), Denied::NotInTask);
}
