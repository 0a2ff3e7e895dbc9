//! `check` against the embedded S3 server, which checks signatures: with nothing wrong, and with one mistake at a time.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod configuration;
mod faults;
mod network;

use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::report::Outcome;
use super::*;
use crate::backend::BackendError;
use crate::cli::demo::s3::{AccessKey, Fault, S3Server};
use crate::config;

const SECRET: &str = "the secret of the key";
const AUTH: &str = "[access]\nfile = 'projects.toml'\n[auth.jwt]\nissuer = 'i'\naudience = 'a'\n\
                    algorithms = ['HS256']\nhmac_secret = { file = 'jwt.secret' }\n";

/// A bucket with one object below a prefix, and a directory for the configuration.
struct Desk {
    server: S3Server,
    directory: TempDir,
}

impl Desk {
    async fn new() -> Self {
        let key = AccessKey::new("LOCKGATE-TEST-1234", SECRET);
        let server = S3Server::start([key]).await.unwrap();
        server.put("media", "clips/a.mp4", vec![1; 10], Some("video/mp4"));
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("jwt.secret", "a secret that is long enough for HS256"),
            ("s3.secret", SECRET),
            ("wrong.secret", "another secret"),
            (
                "projects.toml",
                "[[project]]\nid = '1'\nstorages = ['one']\n",
            ),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self { server, directory }
    }

    /// The `[[storage]]` section of the bucket.
    fn section(&self) -> String {
        format!(
            "[[storage]]\nid = 'one'\nkind = 's3'\nbucket = 'media'\nprefix = 'clips'\n\
             region = 'us-east-1'\nendpoint = '{}'\naccess_key_id = 'LOCKGATE-TEST-1234'\n\
             secret_access_key = {{ file = 's3.secret' }}\n",
            self.server.endpoint()
        )
    }

    async fn check(&self, section: &str, args: CheckArgs) -> Report {
        let file = self.directory.path().join("lockgate.toml");
        std::fs::write(&file, format!("{AUTH}{section}")).unwrap();
        let loaded = config::load(&file, []).unwrap();
        check(&file, &loaded, &args).await.unwrap()
    }

    /// What goes wrong with this section: the step, and what is said about it.
    async fn failure(&self, section: &str, args: CheckArgs) -> (&'static str, String) {
        let report = self.check(section, args).await;
        assert!(!report.ok, "{report}");
        let text = report.to_string();
        assert!(!text.contains("secret of the key") && !text.contains("X-Amz-Signature"));
        let steps = report.storages.iter().flat_map(|storage| &storage.steps);
        let mut failed = steps.filter(|step| step.has_failed());
        let step = failed.next().unwrap_or_else(|| panic!("{text}"));
        let advice = step.advice.as_deref().unwrap();
        (step.step, format!("{} -> {advice}", step.detail))
    }
}

fn uri(text: &str) -> CheckArgs {
    CheckArgs {
        uri: Some(MediaUri::parse(text).unwrap()),
        ..CheckArgs::default()
    }
}

#[tokio::test]
async fn a_storage_without_mistakes_passes_every_step() {
    let desk = Desk::new().await;
    for args in [CheckArgs::default(), uri("s3://media/clips/a.mp4")] {
        let report = desk.check(&desk.section(), args).await;
        assert!(report.ok, "{report}");
        let steps = &report.storages[0].steps;
        let outcome: Vec<_> = steps.iter().map(|step| (step.step, step.outcome)).collect();
        use Outcome::{Ok, Skipped};
        let expected = [
            ("name", Ok),
            ("connect", Ok),
            ("tls", Skipped),
            ("clock", Ok),
            ("credentials", Ok),
            ("list", Ok),
            ("head", Ok),
            ("range", Ok),
            ("presign", Skipped),
            ("cors", Skipped),
        ];
        assert_eq!(outcome, expected, "{report}");
        let text = report.to_string();
        assert!(
            text.contains("access key …1234 from the configuration"),
            "{text}"
        );
        assert!(text.contains("10 bytes, video/mp4"), "{text}");
        assert!(
            !text.contains("LOCKGATE-TEST") && !text.contains(SECRET),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_storage_whose_slow_reads_are_sent_twice_is_told_so() {
    let desk = Desk::new().await;
    let section = desk.section() + "\nhedge = '200ms'\n";
    let report = desk.check(&section, CheckArgs::default()).await;
    assert!(report.ok, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("not answered in 200ms is sent again"),
        "{text}"
    );
}

#[tokio::test]
async fn each_mistake_is_named_with_what_to_change() {
    let desk = Desk::new().await;
    let good = desk.section();
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let endpoint = desk.server.endpoint().to_string();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let none = CheckArgs::default;
    let redirect = format!(
        "[server.cors]\nallowed_origins = ['https://editor.test']\n{good}delivery = 'redirect'\n"
    );
    #[rustfmt::skip]
    let table = [
        (change("s3.secret", "wrong.secret"), none(), "list", "SignatureDoesNotMatch", "correct secret_access_key"),
        (change("-1234", "-0000"), none(), "list", "refused access", "correct access_key_id"),
        (change("'media'", "'nowhere'"), none(), "list", "no such bucket", "correct bucket"),
        (change(&endpoint, &closed), none(), "connect", "refused", "nothing listens there"),
        (good.clone(), uri("s3://media/clips/none.mp4"), "head", "clips/none.mp4: no such object", "correct the key"),
        (change("'clips'", "'none/of/it'"), none(), "list", "prefix none/of/it/ is empty", "correct prefix"),
        (format!("{good}pattern = 'png$'\n"), none(), "list", "do not match the pattern", "correct pattern"),
        (format!("{good}path_style = false\n"), none(), "name", "no host's name", "path_style = true"),
        (redirect, none(), "cors", "pages of https://editor.test (", "\"AllowedOrigins\":[\"https://editor.test\",\"null\"]"),
        ("[[storage]]\nid = 'one'\nkind = 'local'\nroot = 'nowhere'\n".into(), none(), "root", "nowhere", "create the directory"),
        ("[[storage]]\nid = 'one'\nkind = 'local'\nroot = 's3.secret'\n".into(), none(), "root", "not a directory", "set root"),
    ];
    for (section, args, step, detail, advice) in table {
        let (failed, said) = desk.failure(&section, args).await;
        assert_eq!(failed, step, "{section}: {said}");
        let (seen, advised) = said.split_once(" -> ").unwrap();
        assert!(seen.contains(detail) && advised.contains(advice), "{said}");
    }
}

#[tokio::test]
async fn listing_is_not_needed_to_read() {
    let desk = Desk::new().await;
    desk.server.fail_next(1, Fault::Status(403, "AccessDenied"));
    let report = desk
        .check(&desk.section(), uri("s3://media/clips/a.mp4"))
        .await;
    assert!(report.ok, "{report}");
}

#[tokio::test]
async fn a_denied_listing_alone_does_not_vouch_for_credentials() {
    let desk = Desk::new().await;
    desk.server.fail_next(1, Fault::Status(403, "AccessDenied"));
    let (step, said) = desk.failure(&desk.section(), CheckArgs::default()).await;
    assert_eq!(step, "head");
    assert!(said.contains("name an object with --uri"), "{said}");
}

#[tokio::test]
async fn a_refused_read_names_the_action_to_allow() {
    let desk = Desk::new().await;
    desk.server.fail_next(2, Fault::Status(403, "AccessDenied"));
    let (step, said) = desk
        .failure(&desk.section(), uri("s3://media/clips/a.mp4"))
        .await;
    assert_eq!(step, "head");
    assert!(
        said.contains("allow s3:GetObject on arn:aws:s3:::media/clips/*"),
        "{said}"
    );
}

#[tokio::test]
async fn a_uri_that_no_storage_holds_is_a_failure() {
    let desk = Desk::new().await;
    for (text, expected) in [
        ("s3://elsewhere/a.mp4", "none of these storages"),
        (
            "s3://media/private/a.mp4",
            "outside the prefix or the pattern of one",
        ),
    ] {
        let report = desk.check(&desk.section(), uri(text)).await;
        assert!(
            !report.ok && report.to_string().contains(expected),
            "{report}"
        );
    }
}

#[tokio::test]
async fn local_files_are_read_below_their_root() {
    let desk = Desk::new().await;
    std::fs::create_dir(desk.directory.path().join("files")).unwrap();
    let section = "[[storage]]\nid = 'one'\nkind = 'local'\nroot = 'files'\n";
    let (step, said) = desk.failure(section, CheckArgs::default()).await;
    assert!(step == "list" && said.contains("is empty"), "{said}");
    std::fs::write(desk.directory.path().join("files/a.png"), "").unwrap();
    let report = desk.check(section, CheckArgs::default()).await;
    assert!(
        report.ok && report.to_string().contains("a.png: 0 bytes"),
        "{report}"
    );
    let (step, _) = desk
        .failure(section, uri("/data/local-files/?d=b.png"))
        .await;
    assert_eq!(step, "head");
}

#[tokio::test]
async fn a_pattern_that_may_match_anywhere_is_noted() {
    let desk = Desk::new().await;
    for (pattern, noted) in [
        ("mp4$", true),
        ("clips/", true),
        ("^clips/", false),
        (r"\Aclips/", false),
    ] {
        let section = format!("{}pattern = '{pattern}'\n", desk.section());
        let report = desk.check(&section, CheckArgs::default()).await;
        assert!(report.ok, "{report}");
        let text = report.to_string();
        assert_eq!(text.contains("warn    pattern"), noted, "{text}");
    }
}

#[tokio::test]
async fn a_storage_that_is_not_configured_is_a_mistake_in_usage() {
    let desk = Desk::new().await;
    let file = desk.directory.path().join("lockgate.toml");
    std::fs::write(&file, format!("{AUTH}{}", desk.section())).unwrap();
    let loaded = config::load(&file, []).unwrap();
    let args = CheckArgs {
        storage: Some("two".into()),
        ..CheckArgs::default()
    };
    let error = check(&file, &loaded, &args).await.unwrap_err();
    assert!(matches!(&error, CliError::Usage(said) if said.contains("configured: one")));
}

#[tokio::test]
async fn the_report_is_json_for_scripts() {
    let desk = Desk::new().await;
    let report = desk
        .check(&desk.section(), uri("s3://media/clips/none.mp4"))
        .await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["storages"][0]["id"], "one");
    let steps = json["storages"][0]["steps"].as_array().unwrap();
    let head = steps.iter().find(|step| step["step"] == "head").unwrap();
    assert_eq!(head["outcome"], "failed");
    assert!(head["advice"].is_string());

    let problem = crate::located::Located::file("lockgate.toml", "cannot be read");
    let json = serde_json::to_value(Report::broken(&problem.into()));
    let json = json.unwrap();
    assert_eq!(
        json["configuration"][0]["detail"],
        "lockgate.toml: cannot be read"
    );
}

#[test]
fn a_clock_that_is_more_than_five_minutes_off_is_a_failure() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for (theirs, fails, said) in [
        (now, false, "as storage's"),
        (now + Duration::from_secs(300), false, "300 s behind"),
        (now + Duration::from_secs(301), true, "5 min behind"),
        (now - Duration::from_secs(7200), true, "2 h ahead of"),
    ] {
        let step = remote::compare_clocks(theirs, now);
        assert_eq!(step.has_failed(), fails, "{}", step.detail);
        assert!(step.detail.contains(said), "{}", step.detail);
    }
}

#[tokio::test]
async fn every_cause_has_its_advice() {
    let desk = Desk::new().await;
    let file = desk.directory.path().join("lockgate.toml");
    let role = "arn:aws:iam::123456789012:role/Reader";
    let section = format!(
        "{AUTH}{}role_arn = '{role}'\n",
        desk.section().replace("us-east-1", "cn-north-1")
    );
    std::fs::write(&file, section).unwrap();
    let storage = &config::load(&file, []).unwrap().config.storages[0];
    let refused = |said: &str| BackendError::AccessDenied(said.into());
    for (error, advised) in [
        (
            refused("403"),
            "s3:GetObject on arn:aws-cn:s3:::media/clips/*",
        ),
        (refused("SignatureDoesNotMatch"), "secret_access_key"),
        (refused("InvalidAccessKeyId"), "access_key_id"),
        (refused("ExpiredToken"), "session_token"),
        (refused("RequestTimeTooSkewed"), "clock"),
        (
            refused("301: the bucket is in region eu-west-1"),
            "region = \"eu-west-1\"",
        ),
        (refused("AuthorizationHeaderMalformed"), "region"),
        (BackendError::NoSuchBucket, "bucket"),
        (BackendError::NotFound, "key"),
        (
            BackendError::NoCredentials("AccessDenied".into()),
            "sts:AssumeRole",
        ),
        (
            BackendError::NoCredentials("they end within the second".into()),
            "renew",
        ),
        (
            BackendError::Unavailable(
                "cannot connect: invalid peer certificate: UnknownIssuer".into(),
            ),
            "ca_file",
        ),
        (BackendError::throttled("SlowDown"), "later"),
        (BackendError::TimedOut("no answer within 10 s"), "network"),
        (BackendError::Protocol("a 200 to a range".into()), "206"),
    ] {
        let advice = super::advice::advice(&error, storage);
        assert!(advice.contains(advised), "{error}: {advice}");
    }
}
