//! What `setup` prints, read as the providers would read it.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use super::*;

const CONFIG: &str = "[server.cors]\nallowed_origins = ['https://editor.test']\n[access]\nfile = 'p.toml'\n\
    [auth.jwt]\nissuer = 'i'\naudience = 'a'\nalgorithms = ['HS256']\n\
    hmac_secret = 'a secret that is long enough for HS256'\n[[storage]]\nid = 'one'\n";

fn setup_of(section: &str, args: SetupArgs) -> Setup {
    let source = crate::config::Source {
        text: format!("{CONFIG}{section}"),
        ..crate::config::Source::default()
    };
    let config = source.load().unwrap().config;
    setup(&config, &config.storages[0], &args)
}

/// The document of a part, read back from what would be printed.
fn document(setup: &Setup, name: &str) -> Option<Value> {
    let part = setup.parts.iter().find(|part| part.name == name)?;
    let Content::Document { json, .. } = &part.content else {
        panic!("{name} is no document");
    };
    let printed = format!("{json:#}");
    assert!(setup.to_string().contains(&printed));
    Some(serde_json::from_str(&printed).unwrap())
}

fn commands(setup: &Setup) -> String {
    let lines = setup.parts.iter().filter_map(|part| match &part.content {
        Content::Commands(lines) => Some(lines.as_str()),
        Content::Document { .. } => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A policy's check: each statement allows these actions on this resource, has this principal, and there is no other.
fn allows(policy: &Value, expected: &[(&str, Option<&str>, Option<&str>)]) {
    assert_eq!(
        policy["Version"], "2012-10-17",
        "variables mean nothing in another version"
    );
    let statements = policy["Statement"].as_array().unwrap();
    let read: Vec<_> = statements
        .iter()
        .map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            assert!(statement["NotAction"].is_null() && statement["NotResource"].is_null());
            let action = statement["Action"].as_str().unwrap();
            assert!(!action.contains('*'), "{action}");
            (
                action,
                statement["Resource"].as_str(),
                statement["Principal"]["AWS"].as_str(),
            )
        })
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn s3_is_granted_reading_below_the_prefix_and_nothing_else() {
    for (region, prefix, resource) in [
        ("eu-west-1", "", "arn:aws:s3:::media/*"),
        ("eu-west-1", "data/raw", "arn:aws:s3:::media/data/raw/*"),
        ("eu-west-1", "data/", "arn:aws:s3:::media/data/*"),
        ("cn-north-1", "data", "arn:aws-cn:s3:::media/data/*"),
        ("us-gov-west-1", "", "arn:aws-us-gov:s3:::media/*"),
        (
            "us-east-1",
            "a*b?/$x",
            "arn:aws:s3:::media/a${*}b${?}/${$}x/*",
        ),
    ] {
        let section =
            format!("kind = 's3'\nbucket = 'media'\nregion = '{region}'\nprefix = '{prefix}'\n");
        let setup = setup_of(&section, SetupArgs::default());
        let names: Vec<_> = setup.parts.iter().map(|part| part.name).collect();
        assert_eq!(
            names,
            ["identity-policy", "bucket-policy"],
            "no trust, no CORS by proxy"
        );
        let policy = document(&setup, "identity-policy").unwrap();
        allows(&policy, &[("s3:GetObject", Some(resource), None)]);
        let partition = resource.split(':').nth(1).unwrap();
        let unknown = format!("arn:{partition}:iam::ACCOUNT:role/LOCKGATE");
        let policy = document(&setup, "bucket-policy").unwrap();
        allows(&policy, &[("s3:GetObject", Some(resource), Some(&unknown))]);
    }
}

#[test]
fn a_role_is_trusted_on_the_condition_of_the_external_id() {
    let role = "arn:aws-cn:iam::123456789012:role/Reader";
    let section =
        format!("kind = 's3'\nbucket = 'media'\nrole_arn = '{role}'\nexternal_id = 'acme-1'\n");
    let lockgate = "arn:aws-cn:iam::1:role/Lockgate";
    let args = SetupArgs {
        principal: Some(lockgate.into()),
        ..SetupArgs::default()
    };
    let setup = setup_of(&section, args);
    let trust = document(&setup, "trust-policy").unwrap();
    allows(&trust, &[("sts:AssumeRole", None, Some(lockgate))]);
    let condition = &trust["Statement"][0]["Condition"];
    assert_eq!(
        *condition,
        serde_json::json!({ "StringEquals": { "sts:ExternalId": "acme-1" } })
    );
    let assume = document(&setup, "assume-policy").unwrap();
    allows(&assume, &[("sts:AssumeRole", Some(role), None)]);
    let resource = "arn:aws-cn:s3:::media/*";
    let identity = document(&setup, "identity-policy").unwrap();
    allows(&identity, &[("s3:GetObject", Some(resource), None)]);
    let bucket = document(&setup, "bucket-policy").unwrap();
    allows(&bucket, &[("s3:GetObject", Some(resource), Some(role))]);
}

#[test]
fn listing_is_granted_where_it_is_asked_for_and_below_the_prefix_alone() {
    let args = SetupArgs {
        list: true,
        ..SetupArgs::default()
    };
    let setup = setup_of("kind = 's3'\nbucket = 'media'\nprefix = 'data'\n", args);
    let policy = document(&setup, "identity-policy").unwrap();
    let expected = [
        ("s3:GetObject", Some("arn:aws:s3:::media/data/*"), None),
        ("s3:ListBucket", Some("arn:aws:s3:::media"), None),
    ];
    allows(&policy, &expected);
    let condition = &policy["Statement"][1]["Condition"];
    assert_eq!(
        *condition,
        serde_json::json!({ "StringLike": { "s3:prefix": "data/*" } })
    );
}

#[test]
fn redirect_mode_needs_cors_for_the_configured_origins() {
    let redirect = |kind: &str| {
        setup_of(
            &format!("kind = {kind}\ndelivery = 'redirect'\n"),
            SetupArgs::default(),
        )
    };
    let s3 = redirect("'s3'\nbucket = 'media'\nendpoint = 'https://s3.test'");
    let rules = document(&s3, "cors").unwrap();
    let rule = &rules["CORSRules"][0];
    assert_eq!(
        rule["AllowedOrigins"],
        serde_json::json!(["https://editor.test"])
    );
    assert_eq!(rule["AllowedMethods"], serde_json::json!(["GET", "HEAD"]));
    assert!(
        rule["ExposeHeaders"]
            .as_array()
            .unwrap()
            .contains(&"Content-Range".into())
    );
    assert!(commands(&s3).contains("--endpoint-url https://s3.test/"));
    assert!(
        document(&s3, "bucket-policy").is_none(),
        "accounts are AWS'"
    );

    let gcs = redirect("'gcs'\nbucket = 'scans'");
    let rules = document(&gcs, "cors").unwrap();
    assert_eq!(
        rules[0]["origin"],
        serde_json::json!(["https://editor.test"])
    );
    assert!(commands(&gcs).contains("roles/iam.serviceAccountTokenCreator"));

    let azure = redirect("'azure'\naccount = 'acme'\ncontainer = 'slides'");
    assert!(commands(&azure).contains("'Storage Blob Delegator'"));
    assert!(commands(&azure).contains("--origins https://editor.test"));
}

#[test]
fn other_providers_are_granted_reading_alone() {
    let wanted = |prefix: &str| Wanted {
        prefix: prefix.into(),
        redirect: false,
        origins: &[],
        principal: Some("me"),
        list: false,
    };
    let text = |parts: Vec<Part>| {
        let setup = Setup {
            storage: "one".into(),
            kind: "x",
            delivery: "proxy",
            parts,
        };
        commands(&setup)
    };
    let gcs = text(gcs::parts("scans", &wanted("it's/")));
    assert!(gcs.contains("--permissions=storage.objects.get\n"), "{gcs}");
    assert!(
        gcs.contains(r"projects/_/buckets/scans/objects/it'\''s/"),
        "{gcs}"
    );
    let azure = text(azure::parts("acme", "slides", &wanted("")));
    assert!(
        azure.contains("--assignee me --role 'Storage Blob Data Reader'"),
        "{azure}"
    );
    assert!(
        azure.ends_with("storageAccounts/acme/blobServices/default/containers/slides"),
        "{azure}"
    );
    let databricks = text(databricks::parts("main/default/data set", &wanted("")));
    assert_eq!(
        databricks,
        "GRANT USE CATALOG ON CATALOG `main` TO `me`;\nGRANT USE SCHEMA ON SCHEMA `main`.`default` TO `me`;\n\
         GRANT READ VOLUME ON VOLUME `main`.`default`.`data set` TO `me`;"
    );
}
