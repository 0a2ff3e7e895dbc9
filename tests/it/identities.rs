//! Whose requests the S3 backend signs: a role assumed with an external id, and below what the SDK's chain finds. Each
//! source of credentials gives a key that only it knows, and storage takes no other.

mod chain;

use std::process::{Command, Output};

use lockgate::cli::demo::s3::{AccessKey, S3Server};

use crate::support::gateway::{Gateway, Setup};
use crate::support::moto::{self, Moto};
use crate::support::stub::{Asked, Stub};
use crate::support::uri;

const ID: &str = "ASIATEMPORARY";
const SECRET: &str = "a temporary secret";
const TOKEN: &str = "a session's token";
const ROLE: &str = "arn:aws:iam::123456789012:role/Reader";

/// Storage that takes the temporary key alone.
pub async fn storage() -> S3Server {
    let key = AccessKey {
        session_token: Some(TOKEN.into()),
        ..AccessKey::new(ID, SECRET)
    };
    let server = S3Server::start([key]).await.expect("the S3 server starts");
    server.put("media", "a.mp4", vec![1; 10], Some("video/mp4"));
    server
}

pub fn section(storage: &S3Server, more: &str) -> String {
    let endpoint = storage.endpoint();
    format!("kind = 's3'\nbucket = 'media'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n{more}")
}

/// What STS answers with: the temporary key, for an hour.
pub fn assumed(action: &str) -> (u16, String) {
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let end = rfc3339(end);
    let document = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{ID}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>{TOKEN}</SessionToken><Expiration>{end}</Expiration></Credentials>\
         <AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>AROA:lockgate</AssumedRoleId></AssumedRoleUser>\
         </{action}Result></{action}Response>"
    );
    (200, document)
}

fn rfc3339(time: std::time::SystemTime) -> String {
    let time = time::OffsetDateTime::from(time)
        .replace_nanosecond(0)
        .expect("in range");
    time.format(&time::format_description::well_known::Rfc3339)
        .expect("a date")
}

fn denied() -> (u16, String) {
    let document = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                    <Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";
    (403, document.into())
}

/// A field of a form.
fn form(asked: &Asked, name: &str) -> Option<String> {
    let mut fields = url::form_urlencoded::parse(asked.body().as_bytes());
    fields
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.into_owned())
}

/// An STS that asks for the external id, and for the key that the configuration holds.
async fn sts_that_asks_for(external_id: &'static str) -> Stub {
    Stub::start(move |asked| {
        let signed = asked.headers()["authorization"].to_str().expect("ASCII");
        let whole = signed.contains("Credential=AKIABASE/")
            && form(asked, "RoleArn").as_deref() == Some(ROLE)
            && form(asked, "RoleSessionName").as_deref() == Some("annotation")
            && form(asked, "DurationSeconds").as_deref() == Some("1800");
        match form(asked, "ExternalId") {
            Some(said) if said == external_id && whole => assumed("AssumeRole"),
            Some(_) | None => denied(),
        }
    })
    .await
}

pub fn with_role(sts: &str, more: &str) -> String {
    format!(
        "access_key_id = 'AKIABASE'\nsecret_access_key = 'base'\nrole_arn = '{ROLE}'\nsts_endpoint = '{sts}'\n\
         role_session_name = 'annotation'\nrole_duration = '30m'\n{more}"
    )
}

async fn status(gateway: &Gateway) -> u16 {
    let path = uri::project("1", "s3://media/a.mp4");
    gateway.get(path).answer().await.status
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_once_for_all_requests() {
    let (storage, sts) = (storage().await, sts_that_asks_for("acme-1").await);
    let right = with_role(&sts.endpoint, "external_id = 'acme-1'\n");
    let gateway = Setup::over(&section(&storage, &right)).start().await;
    for _ in 0..3 {
        assert_eq!(status(&gateway).await, 200);
        // Not out of the cache: each time another version.
        storage.put("media", "a.mp4", vec![2; 10], None);
    }
    assert_eq!(sts.count(), 1);
}

#[tokio::test]
async fn a_wrong_and_a_missing_external_id_are_refused_and_never_the_annotators_403() {
    let (storage, sts) = (storage().await, sts_that_asks_for("acme-1").await);
    for wrong in ["external_id = 'acme-2'\n", ""] {
        let wrong = with_role(&sts.endpoint, wrong);
        let gateway = Setup::over(&section(&storage, &wrong)).start().await;
        assert_eq!(status(&gateway).await, 502);
    }
}

#[tokio::test]
async fn the_end_of_a_storages_credentials_is_shown_until_a_reload_takes_them_away() {
    const GAUGE: &str = "lockgate_credential_expiry_timestamp_seconds{storage=\"media\"}";
    let storage = storage().await;
    let sts = Stub::start(|_| assumed("AssumeRole")).await;
    let gateway = Setup::over(&section(&storage, &with_role(&sts.endpoint, "")));
    let gateway = gateway.start().await;
    assert_eq!(status(&gateway).await, 200);
    crate::support::eventually("the end is shown", async || {
        gateway.metrics().await.contains(GAUGE).then_some(())
    })
    .await;
    let fixed = "access_key_id = 'AKIABASE'\nsecret_access_key = 'base'\n";
    Setup::over(&section(&storage, fixed)).write(gateway.directory());
    assert!(gateway.reload().await);
    let metrics = gateway.metrics().await;
    assert!(!metrics.contains(GAUGE), "{metrics}");
}

#[tokio::test]
async fn credentials_that_have_ended_and_cannot_be_renewed_are_503_until_they_can() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let storage = storage().await;
    let refuses = Arc::new(AtomicBool::new(false));
    let refusing = refuses.clone();
    let sts = Stub::start(move |_| match refusing.load(Ordering::SeqCst) {
        true => denied(),
        false => assumed("AssumeRole"),
    })
    .await;
    let gateway = Setup::over(&section(&storage, &with_role(&sts.endpoint, "")));
    let gateway = gateway.start().await;
    assert_eq!(status(&gateway).await, 200);
    crate::support::eventually("the end is shown", async || {
        let metrics = gateway.metrics().await;
        let gauge = "lockgate_credential_expiry_timestamp_seconds{storage=\"media\"}";
        metrics.contains(gauge).then_some(())
    })
    .await;

    refuses.store(true, Ordering::SeqCst);
    storage.put("media", "a.mp4", vec![2; 10], None);
    storage.fail_next(
        1,
        lockgate::cli::demo::s3::Fault::Status(400, "ExpiredToken"),
    );
    // Out of the cache, a version would be asked for by its entity tag alone: the storage refuses that as well.
    let answer = gateway
        .get(uri::project("1", "s3://media/b.mp4"))
        .answer()
        .await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert!(!answer.text().contains("ExpiredToken"));

    refuses.store(false, Ordering::SeqCst);
    crate::support::eventually("the role is assumed again", async || {
        (status(&gateway).await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_sts_that_cannot_be_reached_is_503() {
    let storage = storage().await;
    let nobody = Stub::start(|_| denied()).await.endpoint.clone();
    let gateway = Setup::over(&section(&storage, &with_role(&nobody, "")))
        .start()
        .await;
    assert_eq!(status(&gateway).await, 503);
}

/// A storage in moto, below `prefix`.
fn in_moto(endpoint: &str, key: (&str, &str), external_id: &str, prefix: &str) -> String {
    let (id, secret) = key;
    format!(
        "kind = 's3'\nbucket = 'media'\nprefix = '{prefix}'\nendpoint = '{endpoint}'\naccess_key_id = '{id}'\n\
         secret_access_key = '{secret}'\nrole_arn = '{}'\nexternal_id = '{external_id}'\nsts_endpoint = '{endpoint}'\n",
        moto::ROLE
    )
}

/// What `setup` prints for the role, of a storage below `data`.
async fn printed_policy() -> String {
    let section = in_moto("http://unasked.test", ("id", "secret"), "acme-1", "data");
    let output = run("setup", &section, &["--json"], &[]).await;
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let parts = printed["parts"].as_array().expect("a list");
    let policy = parts.iter().find(|part| part["name"] == "identity-policy");
    policy.expect("it is there")["document"]["json"].to_string()
}

#[tokio::test]
async fn the_policy_that_setup_prints_is_enough_to_read_below_the_prefix_and_to_nothing_else() {
    let Some(moto) = Moto::start("acme-1", &printed_policy().await).await else {
        return;
    };
    let key = (moto.access_key_id.as_str(), moto.secret_access_key.as_str());
    // Without a prefix, so that it is the policy that shuts out what lies beside it.
    let section = in_moto(&moto.endpoint, key, "acme-1", "");
    let gateway = Setup::over(&section).start().await;
    let ask = |key: &str| gateway.get(uri::project("1", &format!("s3://media/{key}")));
    let answer = ask("data/a.mp4").range("bytes=2-4").answer().await;
    let log = gateway.access_log();
    assert_eq!((answer.status, answer.text()), (206, "234"), "{log:?}");
    assert_eq!(ask("private/b.mp4").answer().await.status, 502);
    let output = run("ls", &section, &[], &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("storage refused access: AccessDenied"),
        "{said}"
    );
}

#[tokio::test]
async fn motos_sts_refuses_a_wrong_external_id() {
    let Some(moto) = Moto::start("acme-1", &printed_policy().await).await else {
        return;
    };
    let key = (moto.access_key_id.as_str(), moto.secret_access_key.as_str());
    for (external_id, is_right) in [("acme-2", false), ("acme-1", true)] {
        let section = in_moto(&moto.endpoint, key, external_id, "data");
        let output = run("check", &section, &["--uri", "s3://media/data/a.mp4"], &[]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Not whether all is well: moto fails at presigned URLs of a role's.
        let read = text.contains("read the first byte");
        assert_eq!(read, is_right, "{external_id}: {text}");
        assert!(!text.contains(&moto.secret_access_key), "{text}");
        // moto's error document is not of AWS' form, so that the SDK finds no code in it.
        let advised = text.contains("allow sts:AssumeRole on the condition of this external_id");
        assert_eq!(advised, !is_right, "{text}");
    }
}

/// Runs a verb on the storage, in an environment that holds these variables and no other identity.
async fn run(verb: &str, section: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let file = Setup::over(section).write(directory.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command
        .args([verb, "--storage", "media", "--config"])
        .arg(file)
        .args(arguments)
        .env_clear()
        .env("HOME", directory.path())
        .envs(variables.iter().copied());
    // The servers run on this thread's runtime: the binary has to be waited for on another.
    let run = tokio::task::spawn_blocking(move || {
        let output = command.output().expect("the binary runs");
        drop(directory);
        output
    });
    run.await.expect("no panic")
}

#[tokio::test]
async fn two_storages_of_one_bucket_with_different_credentials_share_no_cache_entry() {
    let keys = ["AKIAONE", "AKIATWO"].map(|id| AccessKey::new(id, SECRET));
    let storage = S3Server::start(keys).await.expect("the S3 server starts");
    storage.put("media", "a.mp4", vec![7; 100], None);
    let with = |id: &str| {
        section(
            &storage,
            &format!("access_key_id = '{id}'\nsecret_access_key = '{SECRET}'\n"),
        )
    };
    let setup = Setup::bare()
        .storage("one", &with("AKIAONE"))
        .storage("two", &with("AKIATWO"));
    let project = |id: &str, storage: &str| {
        format!(
            "[[project]]\nid = '{id}'\nstorages = ['{storage}']\nmembers = ['anna']\nmedia = 'storage'\n"
        )
    };
    let gateway = setup
        .projects(&(project("1", "one") + &project("2", "two")))
        .start()
        .await;
    for (asked, project) in [(1, "1"), (1, "1"), (2, "2"), (2, "2"), (2, "1")] {
        let answer = gateway
            .get(uri::project(project, "s3://media/a.mp4"))
            .answer()
            .await;
        assert_eq!((answer.status, answer.body.as_ref()), (200, &[7; 100][..]));
        let read = storage.requests();
        let read = read
            .iter()
            .filter(|request| request.operation == "GetObject" && request.range.is_some());
        assert_eq!(read.count(), asked, "project {project}");
    }
}
