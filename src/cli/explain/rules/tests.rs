//! The rules over a configuration and an access list in files, as an operator asks.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Parser as _;

use super::*;
use crate::cli::explain::{ExplainArgs, explain};
use crate::cli::token::{TokenScope, mint};
use crate::config;

const CONFIG: &str = r"
[access]
file = 'projects.toml'

[auth.jwt]
issuer = 'i'
audience = 'a'
algorithms = ['HS256']
hmac_secret = { file = 'jwt.secret' }

[[storage]]
id = 'clips'
kind = 's3'
bucket = 'media'
prefix = 'clips'
pattern = 'mp4$'
endpoint = 'http://127.0.0.1:9'

[[storage]]
id = 'scans'
kind = 's3'
bucket = 'scans'
delivery = 'redirect'

[[storage]]
id = 'files'
kind = 'local'
root = 'media'

[[storage]]
id = 'slides'
kind = 'azure'
account = 'acme'
container = 'slides'
";

const PROJECTS: &str = r"
[[project]]
id = '1'
storages = ['clips', 'files']
members = ['anna', 'bo']
groups = ['eu']

[[project.task]]
id = '7'
media = ['s3://media/clips/a.mp4', 's3://media/clips/a.png', 's3://media/private/a.mp4', 's3://other/a.mp4',
         '/data/local-files/?d=a.wav']

[[project.task]]
id = '8'
media = ['s3://media/clips/b.mp4']
assignees = ['bo']

[[project]]
id = '2'
storages = ['scans', 'slides']
members = ['chen']
media = 'storage'
";

/// Subject, groups, question, whether it is allowed, what is said.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    bool,
    &'static [&'static str],
);

/// The arguments as a shell gives them.
#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: ExplainArgs,
}

fn token(directory: &Path, subject: &str, groups: &[&str], scope: TokenScope<'_>) -> String {
    let config = config::load(&directory.join("lockgate.toml"), [])
        .unwrap()
        .config;
    let groups: Vec<_> = groups.iter().map(|&group| group.to_owned()).collect();
    let life = Duration::from_secs(600);
    mint(
        config.auth.as_ref().unwrap(),
        subject,
        &groups,
        life,
        scope,
        SystemTime::now(),
    )
    .unwrap()
}

async fn ask(directory: &Path, token: &str, rest: &str) -> Explanation {
    let arguments = ["explain", "--token", token]
        .into_iter()
        .chain(rest.split(' '));
    let cli = Cli::try_parse_from(arguments).unwrap();
    explain(&directory.join("lockgate.toml"), &cli.args)
        .await
        .unwrap()
}

fn desk() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("lockgate.toml", CONFIG),
        ("projects.toml", PROJECTS),
        ("jwt.secret", "a secret that is long enough for HS256"),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[tokio::test]
async fn each_rule_says_why_it_allows_or_denies() {
    let desk = desk();
    let directory = desk.path();
    let local = "--uri /data/local-files/?d=a.wav";
    #[rustfmt::skip]
    let table: &[Row] = &[
        ("anna", &[], "--task 7 --uri s3://media/clips/a.mp4", true,
            &["7 is of project 1", "anna is a member", "for every member", "named by task 7",
              "clips, prefix clips, pattern mp4$", "streamed through Lockgate", "allowed: through project 1"]),
        ("dora", &["eu"], "--task 7 --uri s3://media/clips/a.mp4", true, &["the group eu is of project 1"]),
        ("bo", &[], "--task 8 --uri s3://media/clips/b.mp4", true, &["assigned to bo"]),
        ("bo", &[], "--project 1 --uri s3://media/clips/b.mp4", true, &["1 is in the access list", "named by task 8"]),
        ("chen", &[], "--project 2 --uri s3://scans/x.png", true,
            &["shows whatever its storages hold", "by redirect", "lives for 60 min"]),
        ("anna", &[], local, true, &["from storage files"]),
        ("eve", &[], "--task 7 --uri s3://media/clips/a.mp4", false, &["denied: not a member of the project"]),
        ("anna", &[], "--task 8 --uri s3://media/clips/b.mp4", false,
            &["assigned to bo", "denied: the task is assigned to others"]),
        ("anna", &[], "--project 1 --uri s3://media/clips/b.mp4", false, &["task 8 alone, assigned to others"]),
        ("anna", &[], "--task 7 --uri s3://media/clips/c.mp4", false, &["denied: the task's data does not name"]),
        ("anna", &[], "--project 1 --uri s3://media/clips/c.mp4", false, &["no task of project 1 names it"]),
        ("anna", &[], "--task 9 --uri s3://media/clips/a.mp4", false, &["has no task 9", "denied: no such task"]),
        ("anna", &[], "--project 9 --uri s3://media/clips/a.mp4", false, &["has no project 9"]),
        ("anna", &[], "--task 7 --uri s3://media/private/a.mp4", false,
            &["private/a.mp4 is not below its prefix clips", "denied: no storage of the project"]),
        ("anna", &[], "--task 7 --uri s3://media/clips/a.png", false, &["does not match its pattern mp4$"]),
        ("anna", &[], "--task 7 --uri s3://other/a.mp4", false, &["nothing in any of the project's storages (clips, files)"]),
        ("chen", &[], "--project 2 --uri azure-blob://slides/x", true, &["slides"]),
    ];
    for (subject, groups, question, allowed, said) in table {
        let token = token(directory, subject, groups, TokenScope::default());
        let explanation = ask(directory, &token, question).await;
        let text = explanation.to_string();
        assert_eq!(explanation.allowed, *allowed, "{question}: {text}");
        for said in *said {
            assert!(text.contains(said), "{said:?} in {text}");
        }
        // What decides is `authorize` and `resolve`: the rules that are told must not say otherwise.
        let all = explanation.rules.iter().all(|rule| rule.allows);
        // Where no route names a project, one that denies is no denial.
        let of_any_project = question.starts_with("--uri");
        assert!(of_any_project || all == *allowed, "{question}: {text}");
        assert!(!text.contains(&token));
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_told_why() {
    let desk = desk();
    let directory = desk.path();
    let question = "--task 7 --uri s3://media/clips/a.mp4";
    let good = token(directory, "anna", &[], TokenScope::default());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let explanation = ask(directory, &format!("{signed}.AAAA"), question).await;
    assert!(!explanation.allowed);
    assert!(
        explanation.to_string().contains("DENIES  token"),
        "{explanation}"
    );

    let only_8 = TokenScope {
        task: Some("8"),
        ..TokenScope::default()
    };
    let explanation = ask(directory, &token(directory, "anna", &[], only_8), question).await;
    assert!(
        explanation
            .to_string()
            .contains("denied: the token is for another task"),
        "{explanation}"
    );
    assert!(
        explanation
            .rules
            .iter()
            .any(|rule| rule.rule == "scope" && !rule.allows)
    );
}

#[tokio::test]
async fn a_question_about_no_task_and_no_project_is_a_mistake_in_usage() {
    let desk = desk();
    let arguments = "explain --token t --uri s3://media/a".split(' ');
    let cli = Cli::try_parse_from(arguments).unwrap();
    let error = explain(&desk.path().join("lockgate.toml"), &cli.args).await;
    assert!(matches!(error, Err(crate::cli::CliError::Usage(_))));
}

#[tokio::test]
async fn the_explanation_is_json_for_scripts() {
    let desk = desk();
    let token = token(desk.path(), "anna", &[], TokenScope::default());
    let explanation = ask(desk.path(), &token, "--task 7 --uri s3://media/clips/a.mp4").await;
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["allowed"], true);
    assert_eq!(json["served"]["storage"], "clips");
    assert_eq!(json["served"]["key"], "clips/a.mp4");
    assert_eq!(json["rules"][0]["rule"], "token");
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let explanation = Explanation {
        allowed: false,
        reason: None,
        served: None,
        rules: vec![rule("media", false, "a\u{1b}[2J\nallowed: b")],
    };
    assert_eq!(explanation.to_string().lines().count(), 2);
}
