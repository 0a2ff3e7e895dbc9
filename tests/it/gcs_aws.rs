//! An AWS role as a Google identity: the signed `GetCallerIdentity` that Google gets, verified as AWS would.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use lockgate::backend::config::GcsConfig;
use lockgate::backend::gcs::Gcs;
use lockgate::backend::gcs::identity::Identity;
use lockgate::backend::{Backend, Call};
use serde_json::{Value, json};

use crate::gcs::location;
use crate::support::fake_gcs;
use crate::support::google::{self, Asked, Google};

const AUDIENCE: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/aws";
const ROLE: &str = "/latest/meta-data/iam/security-credentials";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the subject token says, and its headers, once AWS' own steps ("Create a signed AWS API request") have shown
/// the signature to be this secret's.
fn verified(
    form: &HashMap<String, String>,
    region: &str,
    secret: &str,
) -> BTreeMap<String, String> {
    let token = percent_encoding::percent_decode_str(&form["subject_token"]).decode_utf8();
    let token: Value = serde_json::from_str(&token.expect("UTF-8")).expect("JSON");
    assert_eq!(token["method"], "POST");
    let host = format!("sts.{region}.amazonaws.com");
    let query = "Action=GetCallerIdentity&Version=2011-06-15";
    assert!(
        token["url"] == format!("https://{host}?{query}")
            || token["url"] == format!("https://{host}/?{query}")
    );
    let headers = token["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .map(|header| {
            let text = |name: &str| header[name].as_str().expect("text").to_owned();
            (text("key").to_lowercase(), text("value"))
        });
    let headers: BTreeMap<String, String> = headers.collect();
    assert_eq!(headers["host"], host);
    assert_eq!(headers["x-goog-cloud-target-resource"], AUDIENCE);
    assert_eq!(headers["x-amz-date"], "20260101T000000Z");

    let (_, signed) = headers["authorization"]
        .split_once("SignedHeaders=")
        .expect("names");
    let (names, signature) = signed.split_once(", Signature=").expect("a signature");
    for name in headers.keys().filter(|name| *name != "authorization") {
        assert!(
            names.split(';').any(|signed| signed == name),
            "{name} is not signed"
        );
    }
    let fields: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", headers[name]))
        .collect();
    let canonical = format!(
        "POST\n/\n{query}\n{fields}\n{names}\n{}",
        hex(digest(&SHA256, b"").as_ref())
    );
    let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let scope = format!("20260101/{region}/sts/aws4_request");
    let signable = format!("AWS4-HMAC-SHA256\n20260101T000000Z\n{scope}\n{hashed}");
    let hmac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
            .as_ref()
            .to_vec()
    };
    let key = scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part)
        });
    assert_eq!(
        signature,
        hex(&hmac(&key, &signable)),
        "another's signature"
    );
    headers
}

async fn read(google: &Google, environment: &[(&str, &str)]) {
    let url = |path: &str| format!("{}{path}", google.origin());
    let file = json!({
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": url("/sts"),
        "credential_source": {
            "environment_id": "aws1",
            "region_url": url("/latest/meta-data/placement/availability-zone"),
            "url": url(ROLE),
            "imdsv2_session_token_url": url("/latest/api/token"),
            "regional_cred_verification_url":
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        },
    });
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let identity = Identity::parse(&file.to_string(), &environment.collect()).expect("an identity");
    let config = GcsConfig {
        identity: Some(identity),
        ..fake_gcs::config(google.origin(), "media")
    };
    let new_year = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let storage = Gcs::with_clock(config, fake_gcs::client(), Arc::new(new_year));
    storage
        .get(Call::about(&location("a.mp4")), 0..3)
        .await
        .expect("it is read");
}

/// An instance's metadata, version 2 alone.
fn instance(asked: &Asked) -> google::Answer {
    let path = asked.path.as_str();
    if path == "/latest/api/token" {
        assert_eq!(asked.method, "PUT");
        assert_eq!(asked.header("x-aws-ec2-metadata-token-ttl-seconds"), "300");
        return (200, "session".to_owned());
    }
    if path == "/sts" {
        return google::token("good");
    }
    assert_eq!(
        asked.header("x-aws-ec2-metadata-token"),
        "session",
        "{path}"
    );
    match path.strip_prefix(ROLE) {
        None => (200, "ap-southeast-2b".to_owned()),
        Some("") => (200, "annotators\n".to_owned()),
        Some(role) => {
            assert_eq!(role, "/annotators");
            let keys = json!({ "AccessKeyId": "ASIA1", "SecretAccessKey": "s3/cr+t", "Token": "to/k+en==" });
            (200, keys.to_string())
        }
    }
}

#[tokio::test]
async fn an_instances_role_is_proven_by_what_its_metadata_give() {
    let google = Google::start(instance).await;
    read(&google, &[]).await;
    let headers = verified(&google.asked("/sts")[0].form(), "ap-southeast-2", "s3/cr+t");
    assert_eq!(headers["x-amz-security-token"], "to/k+en==");
    assert!(headers["authorization"].contains("Credential=ASIA1/20260101/"));
}

#[tokio::test]
async fn an_access_key_of_the_environment_asks_no_metadata() {
    let google = Google::start(instance).await;
    let environment = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIA1"),
        ("AWS_SECRET_ACCESS_KEY", "other"),
    ];
    read(&google, &environment).await;
    let headers = verified(&google.asked("/sts")[0].form(), "eu-central-1", "other");
    assert!(!headers.contains_key("x-amz-security-token"));
    assert!(google.asked("/latest").is_empty());
}
