//! What the SDK's chain finds in the environment of a process of its own: web identity, container and instance roles,
//! keys and profiles.

use std::path::Path;

use super::{ID, ROLE, SECRET, TOKEN, assumed, denied, form, rfc3339, run, section, storage};
use crate::support::stub::Stub;

/// `lockgate ls` lists the object with what these variables lead to.
async fn assert_reads(variables: &[(&str, &str)]) {
    let storage = storage().await;
    let output = run("ls", &section(&storage, ""), &[], variables).await;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(out.contains("s3://media/a.mp4"), "{out}{err}");
    assert!(!err.contains(SECRET) && !err.contains(TOKEN), "{err}");
}

/// What container and instance metadata services answer with.
fn metadata() -> (u16, String) {
    let end = rfc3339(std::time::SystemTime::now() + std::time::Duration::from_secs(3600));
    let document = serde_json::json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": ID, "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": end,
    });
    (200, document.to_string())
}

#[tokio::test]
async fn web_identity_is_exchanged_for_the_role_that_the_environment_names() {
    let sts = Stub::start(|asked| {
        let whole = form(asked, "Action").as_deref() == Some("AssumeRoleWithWebIdentity")
            && form(asked, "RoleArn").as_deref() == Some(ROLE)
            && form(asked, "WebIdentityToken").as_deref() == Some("a.jwt.of-the-cluster");
        if whole {
            assumed("AssumeRoleWithWebIdentity")
        } else {
            denied()
        }
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let token = directory.path().join("token");
    std::fs::write(&token, "a.jwt.of-the-cluster").expect("it is written");
    let token = path(&token);
    assert_reads(&[
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_STS", &sts.endpoint),
    ])
    .await;
}

#[tokio::test]
async fn a_containers_role_is_asked_for_with_its_token() {
    let service = Stub::start(|asked| {
        let token = asked.headers().get("authorization");
        match token.is_some_and(|token| token == "the container's token") {
            true if asked.uri().path() == "/role" => metadata(),
            _ => (403, String::new()),
        }
    })
    .await;
    assert_reads(&[
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}/role", service.endpoint),
        ),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the container's token"),
    ])
    .await;
}

#[tokio::test]
async fn an_instances_role_is_asked_for_by_imds_version_2() {
    let service = Stub::start(|asked| {
        let session = asked.headers().get("x-aws-ec2-metadata-token");
        let known = session.is_some_and(|session| session == "session");
        let role = "/latest/meta-data/iam/security-credentials";
        let path = asked.uri().path().trim_end_matches('/');
        match (asked.method().as_str(), path) {
            ("PUT", "/latest/api/token") => (200, "session".into()),
            ("GET", path) if known && path == role => (200, "reader".into()),
            ("GET", path) if known && path == format!("{role}/reader") => metadata(),
            _ => (404, String::new()),
        }
    })
    .await;
    assert_reads(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.endpoint)]).await;
}

#[tokio::test]
async fn keys_of_the_environment_and_of_a_profile_are_found() {
    let environment = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", TOKEN),
    ];
    assert_reads(&environment).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("credentials");
    let profile = format!(
        "[reader]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n"
    );
    std::fs::write(&file, profile).expect("it is written");
    assert_reads(&[
        ("AWS_SHARED_CREDENTIALS_FILE", &path(&file)),
        ("AWS_PROFILE", "reader"),
    ])
    .await;
}

fn path(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}
