//! Who may see what, on a task's route.

use super::*;

const A: &str = "s3://media/data/a.png";

#[tokio::test]
async fn what_the_task_names_lies_behind_a_url_that_label_studio_signs() {
    let it = fixture().await;
    for (uri, key) in [
        ("s3://media/data/a.png", "data/a.png"),
        ("s3://media/data/b%20c.png", "data/b%20c.png"),
        ("https://media.s3.amazonaws.com/data/a.png", "data/a.png"),
    ] {
        let location = it.ask("anna", task("1"), uri).await.signed();
        assert_eq!((&*location.bucket, &*location.key), ("s3://media", key));
        assert_eq!(location.storage.as_str(), crate::signed::LABEL_STUDIO);
        assert!(it.urls.get(&location).is_some());
    }
}

#[tokio::test]
async fn a_uri_that_the_task_does_not_name_is_denied_without_asking_for_its_url() {
    let it = fixture().await;
    let outcome = it
        .ask("anna", task("1"), "s3://media/data/secret.png")
        .await;
    assert_eq!(outcome.denied(), Denied::NotInTask);
    assert_eq!(
        (it.studio.count("/tasks/"), it.studio.count("/api/storages")),
        (0, 0)
    );
}

#[tokio::test]
async fn a_prefix_ends_at_a_component() {
    for media in [MediaRule::Task, MediaRule::Storage] {
        let it = with(media, MAX_AGE, |_| Vec::new()).await;
        let permit = it
            .ask("anna", task("2"), "s3://media/data-private/x.png")
            .await
            .permit();
        assert!(permit.place().is_none() && permit.storages().count() == 0);
        assert_eq!(it.studio.count("/tasks/"), 0);
    }
}

#[tokio::test]
async fn the_rule_storage_asks_for_no_mention_and_keeps_to_the_storages() {
    let it = with(MediaRule::Storage, MAX_AGE, |_| Vec::new()).await;
    it.ask("anna", task("1"), "s3://media/data/secret.png")
        .await
        .signed();
    let elsewhere = it
        .ask("anna", task("1"), "s3://vault/data/a.png")
        .await
        .permit();
    assert!(elsewhere.place().is_none());
}

#[tokio::test]
async fn a_storage_that_does_not_sign_leaves_the_media_to_label_studio() {
    let it = fixture().await;
    let permit = it
        .ask("anna", task("3"), "s3://media/data/a.png")
        .await
        .permit();
    assert_eq!(permit.place(), Some(&passed("/tasks/3", A)));
    // It would send the whole of it.
    assert_eq!(it.studio.count("/tasks/"), 0);
}

#[tokio::test]
async fn what_label_studio_would_read_as_another_object_is_not_left_to_it() {
    for signs in [false, true] {
        let it = with(MediaRule::Storage, MAX_AGE, |_| Vec::new()).await;
        it.studio.say(move |question| {
            if question.path.starts_with("/api/storages/") {
                let name = match question.path.contains("/azure/") {
                    true => ("container", "c"),
                    false => ("bucket", "media"),
                };
                return reply(json!([{"id": 1, "presign": signs, name.0: name.1}]));
            }
            match question.path.starts_with("/tasks/") {
                true => (206, String::new(), "x".into()),
                false => studio(question),
            }
        });
        let place = async |uri: &str| {
            let permit = it.ask("anna", task("3"), uri).await.permit();
            permit.place().cloned()
        };
        for uri in [
            "s3://media/data/a?b.png",
            "s3://media//a.png",
            "s3://media/a\tb.png",
            "s3://media/ab.png\n",
            "s3://media/\ra.png",
            "azure-blob://c/data/../a.png",
            "azure-blob://c/./a.png",
            "azure-blob://c/a/..",
            "https://acct.blob.core.windows.net/c/k.png",
        ] {
            assert_eq!(place(uri).await, None, "{uri}");
        }
        for uri in [
            "s3://media/a//b#c%3Fd;e +.png",
            "azure-blob://c/..a/b./c..d",
        ] {
            assert_eq!(place(uri).await, Some(passed("/tasks/3", uri)), "{uri}");
        }
    }
}

#[tokio::test]
async fn one_that_has_stopped_to_sign_is_found_out_by_one_byte() {
    let it = fixture().await;
    it.studio
        .say(|question| match question.path.starts_with("/tasks/") {
            true => (206, "content-range: bytes 0-0/100\r\n".into(), "x".into()),
            false => studio(question),
        });
    let permit = it
        .ask("anna", task("1"), "s3://media/data/a.png")
        .await
        .permit();
    assert_eq!(permit.place(), Some(&passed("/tasks/1", A)));
    let asked = it.studio.asked();
    let resolve = asked.iter().find(|it| it.path.starts_with("/tasks/"));
    assert_eq!(resolve.expect("it was asked").fields["range"], "bytes=0-0");
}

#[tokio::test]
async fn a_url_that_was_signed_for_another_object_serves_none() {
    let it = fixture().await;
    let permit = it
        .ask("anna", task("2"), "s3://media/data/a?b.png")
        .await
        .permit();
    assert!(permit.place().is_none());
}

#[tokio::test]
async fn own_storages_serve_what_a_storage_of_the_project_names() {
    let own = |uri: &MediaUri| match uri.to_string().as_str() {
        "s3://vault/data/a.png" => vec![held("vault", "s3://vault/data/a.png")],
        "https://minio.example.com/vault/k" => vec![held("vault", "s3://vault/k")],
        "s3://media/data/a.png" => vec![held("media", "s3://media/data/a.png")],
        _ => vec![],
    };
    let it = with(MediaRule::Task, MAX_AGE, own).await;
    let storages = async |id: &str, uri| {
        let permit = it.ask("anna", task(id), uri).await.permit();
        assert!(permit.place().is_none());
        permit
            .storages()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(storages("1", "s3://media/data/a.png").await, ["media"]);
    assert_eq!(storages("3", "s3://media/data/a.png").await, ["media"]);
    // Anybody may create a task that names the vault; no storage of the project does.
    assert!(storages("5", "s3://vault/data/a.png").await.is_empty());
    assert!(
        storages("5", "https://minio.example.com/vault/k")
            .await
            .is_empty()
    );
    assert_eq!(it.studio.count("/tasks/"), 0);
}

#[tokio::test]
async fn what_label_studio_has_no_storages_for_must_be_named_by_the_task_whatever_the_rule() {
    for media in [MediaRule::Task, MediaRule::Storage] {
        let own = |uri: &MediaUri| vec![held("lake", &uri.to_string())];
        let it = with(media, MAX_AGE, own).await;
        let named = it
            .ask("anna", task("3"), "dbx://Volumes/c/s/v/a.png")
            .await
            .permit();
        assert_eq!(named.storages().count(), 1);
        let other = it.ask("anna", task("3"), "dbx://Volumes/c/s/v/b.png").await;
        assert_eq!(other.denied(), Denied::NotInTask);
        assert_eq!(it.studio.count("/api/storages"), 0);
    }
}

#[tokio::test]
async fn who_is_not_accepted_is_not_authenticated() {
    let it = fixture().await;
    let outcome = it.ask("nobody", task("1"), "s3://media/data/a.png").await;
    assert!(matches!(outcome, Outcome::NotAuthenticated), "{outcome:?}");
    it.studio.say(|_| {
        (
            302,
            "location: /user/login/?next=/api\r\n".into(),
            String::new(),
        )
    });
    let outcome = it.ask("anna", task("1"), "s3://media/data/a.png").await;
    assert!(matches!(outcome, Outcome::NotAuthenticated), "{outcome:?}");
}

#[tokio::test]
async fn what_is_refused_at_any_step_is_as_if_it_were_not_there() {
    for refused in ["/api/tasks", "/api/storages", "/tasks/"] {
        for code in [403, 404] {
            let it = fixture().await;
            it.studio
                .say(move |question| match question.path.starts_with(refused) {
                    true => status(code),
                    false => studio(question),
                });
            let outcome = it.ask("anna", task("1"), "s3://media/data/a.png").await;
            assert_eq!(outcome.denied(), Denied::Unknown, "{refused}");
        }
    }
    let it = fixture().await;
    let outcome = it.ask("anna", task("99"), "s3://media/data/a.png").await;
    assert_eq!(outcome.denied(), Denied::Unknown);
}

#[tokio::test]
async fn no_answer_at_any_step_is_never_open() {
    for silent in ["/api/tasks", "/api/storages", "/tasks/"] {
        for answer in [
            status(500),
            status(429),
            status(302),
            reply("<html>"),
            reply("{}"),
        ] {
            // A place's body is not read.
            if silent == "/tasks/" && answer.0 == 200 {
                continue;
            }
            let it = fixture().await;
            let said = answer.clone();
            it.studio
                .say(move |question| match question.path.starts_with(silent) {
                    true => said.clone(),
                    false => studio(question),
                });
            let outcome = it.ask("anna", task("1"), "s3://media/data/a.png").await;
            assert!(
                matches!(outcome, Outcome::Unavailable),
                "{silent} {answer:?} {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_id_that_is_no_number_is_not_asked_about() {
    let it = fixture().await;
    for id in [
        "../users/1",
        "1/../2",
        "",
        "x",
        "-1",
        "9999999999999999999",
        "1?x",
    ] {
        for target in [task(id), project(id)] {
            let outcome = it.ask("anna", target, "s3://media/data/a.png").await;
            assert_eq!(outcome.denied(), Denied::Unknown, "{id}");
        }
    }
    assert_eq!(it.questions(), 0);
}

#[tokio::test]
async fn the_wrong_task_in_an_answer_is_not_believed() {
    let it = fixture().await;
    it.studio.say(|question| match question.path.as_str() {
        "/api/tasks/1/?resolve_uri=false" => reply(&tasks()[2]),
        _ => studio(question),
    });
    let outcome = it.ask("anna", task("1"), "s3://media/data/a.png").await;
    assert!(matches!(outcome, Outcome::Unavailable), "{outcome:?}");
}

#[tokio::test]
async fn an_account_that_a_uri_names_is_not_served_from_anothers_answer() {
    let it = with(MediaRule::Storage, MAX_AGE, |_| Vec::new()).await;
    it.studio.say(|question| {
        if question.path.starts_with("/api/storages/azure/") {
            return reply(json!([{"id": 4, "type": "azure", "presign": true, "container": "c", "prefix": null}]));
        }
        match question.path.starts_with("/tasks/") {
            true => see_other("https://acct.blob.core.windows.net/c/k.png?se=2026-11-22T05%3A00%3A00Z&sig=x"),
            false => studio(question),
        }
    });
    let blob = async |uri| it.ask("anna", task("1"), uri).await.permit();
    let any = blob("azure-blob://c/k.png").await;
    assert!(matches!(any.place(), Some(Place::Signed(_))));
    let own = blob("https://acct.blob.core.windows.net/c/k.png").await;
    assert_eq!(own.place(), any.place());
    let other = blob("https://other.blob.core.windows.net/c/k.png").await;
    assert_eq!(other.place(), None);
}
