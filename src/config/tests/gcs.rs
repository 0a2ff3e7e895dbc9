//! `kind = "gcs"`: whose credentials are used, and what operators get wrong about them.

use super::*;

const STORAGE: &str = "[[storage]]\nid = \"scans\"\nkind = \"gcs\"\nbucket = \"acme-scans\"\n";

fn text(more: &str) -> String {
    let (settings, _) = SMALL.split_once("[[storage]]").expect("a storage");
    format!("{settings}{STORAGE}{more}")
}

fn identity(more: &str, environment: &[(&str, &str)]) -> Option<Identity> {
    let BackendConfig::Gcs(gcs) = &config(&text(more), environment).storages[0].backend else {
        panic!("it is gcs");
    };
    gcs.identity.clone()
}

#[test]
fn application_default_is_the_named_file_then_gclouds_then_the_metadata_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let (named, home) = (
        directory.path().join("named.json"),
        directory.path().join("home"),
    );
    let gclouds = home.join(".config/gcloud");
    std::fs::create_dir_all(&gclouds).expect("made");
    std::fs::write(&named, GCS).expect("written");
    let home = home.to_str().expect("UTF-8");
    let named = named.to_str().expect("UTF-8");

    let metadata = |host: &str| Some(Identity::Metadata(host.to_owned()));
    assert_eq!(identity("", &[]), metadata("metadata.google.internal"));
    assert_eq!(
        identity("", &[("HOME", home), ("GCE_METADATA_HOST", "127.0.0.1:1")]),
        metadata("127.0.0.1:1")
    );
    let user = r#"{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}"#;
    std::fs::write(gclouds.join("application_default_credentials.json"), user).expect("written");
    assert!(matches!(
        identity("", &[("HOME", home)]),
        Some(Identity::User(_))
    ));
    let both = [("HOME", home), ("GOOGLE_APPLICATION_CREDENTIALS", named)];
    assert!(matches!(identity("", &both), Some(Identity::External(_))));
    assert_eq!(identity("anonymous = true\n", &both), None);
}

#[test]
fn a_credentials_file_that_cannot_be_used_is_an_error_that_names_the_key_and_no_secret() {
    let source = |source: &str| GCS.replace(r#"{"file": "/var/run/token"}"#, source);
    let key = r#"{"type": "service_account", "client_email": "a@p.iam", "private_key": "SECRET"}"#;
    for (json, word) in [
        ("gcs.json".to_owned(), "a path is written { file"),
        ("{}".to_owned(), "missing field `type`"),
        (
            r#"{"type": "gdch_service_account"}"#.to_owned(),
            "unknown variant",
        ),
        (key.to_owned(), "private_key is not an RSA key"),
        (
            source(r#"{"executable": {"command": "SECRET"}}"#),
            "programs",
        ),
        (source(r#"{"environment_id": "aws2"}"#), "not aws1"),
        (
            GCS.replace(
                "\"type\"",
                "\"service_account_impersonation_url\": \"https://x\", \"type\"",
            ),
            "names no service account",
        ),
    ] {
        let text = text("credentials = { env = \"GCS_JSON\" }\n");
        let problems = load_text(&text, &[("GCS_JSON", &json)])
            .expect_err("it is refused")
            .to_string();
        assert!(problems.contains("storage[0].credentials"), "{problems}");
        assert!(problems.contains(word), "{word}: {problems}");
        assert!(!problems.contains("SECRET"), "{problems}");
    }
}

#[test]
fn credentials_and_addresses_that_contradict_or_cannot_be_are_errors() {
    for (more, key, word) in [
        ("credentials = \"gcs.json\"\n", "credentials", "{ file"),
        (
            "credentials = { file = \"no.json\" }\n",
            "credentials",
            "cannot be read",
        ),
        (
            "anonymous = true\ncredentials = { file = \"no.json\" }\n",
            "credentials",
            "one of the two",
        ),
        ("endpoint = \"localhost\"\n", "endpoint", "http://"),
        ("iam_endpoint = \"localhost\"\n", "iam_endpoint", "http://"),
        ("ca_file = \"no.pem\"\n", "ca_file", "no such file"),
        ("region = \"eu\"\n", "region", "unknown"),
    ] {
        let problems = load_text(&text(more), &[])
            .expect_err("it is refused")
            .to_string();
        assert!(
            problems.contains(&format!("storage[0].{key}")),
            "{problems}"
        );
        assert!(problems.contains(word), "{problems}");
    }
    let named = [("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json")];
    assert!(load_text(&text(""), &named).is_err());
}

#[test]
fn an_aws_role_takes_the_environments_keys_before_the_instances() {
    let aws = r#"{"environment_id": "aws1", "url": "http://169.254.169.254/latest/meta-data/iam/security-credentials"}"#;
    let json = GCS.replace(r#"{"file": "/var/run/token"}"#, aws);
    let environment = [
        ("GCS_JSON", json.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "in-plain-sight"),
    ];
    let found = identity("credentials = { env = \"GCS_JSON\" }\n", &environment);
    let shown = format!("{found:?}");
    assert!(
        shown.contains("AKIA") && shown.contains("eu-central-1"),
        "{shown}"
    );
    assert!(!shown.contains("in-plain-sight"), "{shown}");
}
