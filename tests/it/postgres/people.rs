//! `lockgate grant`, `revoke` and `members` at a terminal.

use super::started;
use crate::support::gateway::Setup;

#[tokio::test]
async fn people_are_let_in_and_taken_out_and_listed() {
    let Some((postgres, _store)) = started().await else {
        return;
    };
    let said = postgres
        .verb(&["grant", "erik", "anna", "--project", "1"])
        .await;
    assert_eq!(
        said,
        "project 1 granted to erik\nanna already in project 1\n"
    );
    let said = postgres
        .verb(&["grant", "reviewers", "--group", "--project", "1"])
        .await;
    assert_eq!(said, "project 1 granted to group reviewers\n");
    let said = postgres.verb(&["grant", "erik", "--task", "7"]).await;
    assert_eq!(said, "task 7 granted to erik\n");
    let listed = postgres.verb(&["members", "--project", "1"]).await;
    assert_eq!(
        listed,
        "project 1, tasks 2\nmembers 3\n  anna\n  bo\n  erik\ngroups 2\n  labelers\n  reviewers\n\
         assignees 2\n  bo: tasks 1\n  erik: tasks 1\n"
    );
    let said = postgres
        .verb(&["revoke", "erik", "nobody", "--project", "1"])
        .await;
    assert_eq!(
        said,
        "erik taken out of project 1\nnobody was not in project 1\n\
         note: whoever is in labelers, reviewers by their token is still let in\n"
    );
    let said = postgres
        .verb(&[
            "revoke",
            "labelers",
            "reviewers",
            "--group",
            "--project",
            "1",
            "--json",
        ])
        .await;
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(json["changed"].as_array().map(Vec::len), Some(2), "{json}");
    let listed = postgres
        .verb(&["members", "--project", "1", "--json"])
        .await;
    let json: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(json["members"], serde_json::json!(["anna", "bo"]));
}

#[tokio::test]
async fn the_last_assignee_is_not_taken_off_by_mistake_as_everybody_would_see_the_task() {
    let Some((postgres, _store)) = started().await else {
        return;
    };
    let refused = postgres.try_verb(&["revoke", "bo", "--task", "8"]).await;
    let said = crate::cli::said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("every member of its project would see it"),
        "{said}"
    );
    let listed = postgres.verb(&["members", "--project", "1"]).await;
    assert!(listed.contains("bo: tasks 1"), "{listed}");
    let said = postgres
        .verb(&["revoke", "bo", "--task", "8", "--open-to-members"])
        .await;
    assert_eq!(said, "bo taken out of task 8\n");
    for nothing in [["--project", "99"], ["--task", "99"]] {
        let refused = postgres
            .try_verb(&[&["grant", "anna"], &nothing[..]].concat())
            .await;
        let said = crate::cli::said(&refused);
        assert!(said.contains("there is no"), "{said}");
    }
}

#[test]
fn with_a_list_in_a_file_the_verbs_say_to_edit_it() {
    let directory = tempfile::tempdir().expect("a directory");
    for verb in [
        &["grant", "anna", "--project", "1"][..],
        &["members", "--project", "1"],
        &["db", "export"],
    ] {
        let output = crate::cli::run_with(&Setup::bare(), directory.path(), verb);
        let said = crate::cli::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("projects.toml, which is in force within a second"),
            "{said}"
        );
    }
}
