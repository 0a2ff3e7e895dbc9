//! AWS: identity policy, trust policy, bucket policy and CORS, as IAM and S3 take them.
//!
//! Follows "IAM JSON policy reference", "How to use an external ID" and "Configuring CORS" (Amazon S3).

use serde_json::{Value, json};

use super::{ALLOWED_HEADERS, Content, EXPOSED_HEADERS, MAX_AGE_SECONDS, Part, Wanted, shell};
use crate::backend::config::S3Config;

pub(super) fn parts(s3: &S3Config, wanted: &Wanted<'_>) -> Vec<Part> {
    let mut parts = vec![identity_policy(s3, wanted)];
    if let Some(role) = &s3.role_arn {
        parts.extend([trust_policy(s3, role, wanted), assume_policy(role)]);
    }
    if s3.endpoint.is_none() {
        parts.push(bucket_policy(s3, wanted));
    }
    if wanted.redirect {
        parts.extend(cors(s3, wanted));
    }
    parts
}

fn identity_policy(s3: &S3Config, wanted: &Wanted<'_>) -> Part {
    let whose = match &s3.role_arn {
        Some(role) => format!("attach to {role}"),
        None => "attach to the user or role that Lockgate runs as".into(),
    };
    let keys = "a bucket encrypted with a KMS key needs kms:Decrypt on that key as well";
    document(
        "identity-policy",
        "policy.json",
        format!("{whose}; {keys}"),
        policy(statements(s3, wanted, None)),
    )
}

/// Reading, and listing where it is wanted; for `principal` where the policy is a bucket's own.
fn statements(s3: &S3Config, wanted: &Wanted<'_>, principal: Option<&str>) -> Vec<Value> {
    let bucket = format!("arn:{}:s3:::{}", partition(s3), s3.bucket);
    let prefix = literal(&wanted.prefix);
    let mut statements = vec![json!({
        "Sid": "LockgateReadsMedia",
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": format!("{bucket}/{prefix}*"),
    })];
    if wanted.list {
        let mut list = json!({
            "Sid": "LockgateListsMedia",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket,
        });
        if !prefix.is_empty() {
            list["Condition"] = json!({ "StringLike": { "s3:prefix": format!("{prefix}*") } });
        }
        statements.push(list);
    }
    if let Some(principal) = principal {
        for statement in &mut statements {
            statement["Principal"] = json!({ "AWS": principal });
        }
    }
    statements
}

fn trust_policy(s3: &S3Config, role: &str, wanted: &Wanted<'_>) -> Part {
    let unknown = unknown_principal(s3);
    let mut statement = json!({
        "Sid": "LockgateAssumesThisRole",
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": { "AWS": wanted.principal(&unknown) },
    });
    let purpose = match &s3.external_id {
        Some(external_id) => {
            statement["Condition"] =
                json!({ "StringEquals": { "sts:ExternalId": external_id.expose() } });
            format!("the trust policy of {role}")
        }
        None => format!(
            "the trust policy of {role}; where it is another company's, set external_id and run this again"
        ),
    };
    document(
        "trust-policy",
        "trust.json",
        purpose,
        policy(vec![statement]),
    )
}

fn assume_policy(role: &str) -> Part {
    let statement = json!({
        "Sid": "LockgateAssumesTheRole",
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": role,
    });
    let purpose = "attach to the user or role that Lockgate runs as".into();
    document(
        "assume-policy",
        "assume.json",
        purpose,
        policy(vec![statement]),
    )
}

fn bucket_policy(s3: &S3Config, wanted: &Wanted<'_>) -> Part {
    let unknown = unknown_principal(s3);
    let principal = match &s3.role_arn {
        Some(role) => role.as_str(),
        None => wanted.principal(&unknown),
    };
    let purpose = "only where the bucket is another account's than this principal: add to the bucket's own policy";
    let statements = statements(s3, wanted, Some(principal));
    document(
        "bucket-policy",
        "bucket-policy.json",
        purpose.into(),
        policy(statements),
    )
}

fn cors(s3: &S3Config, wanted: &Wanted<'_>) -> [Part; 2] {
    let rules = json!({ "CORSRules": [{
        "AllowedOrigins": wanted.origins(),
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedHeaders": ALLOWED_HEADERS,
        "ExposeHeaders": EXPOSED_HEADERS,
        "MaxAgeSeconds": MAX_AGE_SECONDS,
    }] });
    let purpose = "replaces the CORS rules of the bucket; the console takes the list in it";
    let endpoint = s3
        .endpoint
        .as_ref()
        .map(|endpoint| format!(" --endpoint-url {endpoint}"));
    let command = format!(
        "aws s3api put-bucket-cors --bucket {} --cors-configuration file://cors.json{}",
        shell(&s3.bucket),
        endpoint.unwrap_or_default()
    );
    [
        document("cors", "cors.json", purpose.into(), rules),
        Part {
            name: "cors-command",
            purpose: "puts cors.json in force".into(),
            content: Content::Commands(command),
        },
    ]
}

fn document(name: &'static str, file: &'static str, purpose: String, json: Value) -> Part {
    Part {
        name,
        purpose,
        content: Content::Document { file, json },
    }
}

fn policy(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn unknown_principal(s3: &S3Config) -> String {
    format!("arn:{}:iam::ACCOUNT:role/LOCKGATE", partition(s3))
}

/// Of the role where there is one, else of the region.
fn partition(s3: &S3Config) -> &str {
    let of_role = s3.role_arn.as_ref().and_then(|arn| arn.split(':').nth(1));
    let region = s3.region.as_deref().unwrap_or_default();
    of_role.unwrap_or(match region.split('-').collect::<Vec<_>>()[..] {
        ["cn", ..] => "aws-cn",
        ["us", "gov", ..] => "aws-us-gov",
        ["eusc", ..] => "aws-eusc",
        _ => "aws",
    })
}

/// A key's beginning as a policy takes it for itself: what would be a wildcard or a variable stands as a variable
/// that means the character ("IAM policy elements: variables and tags").
fn literal(prefix: &str) -> String {
    let mut literal = String::new();
    for character in prefix.chars() {
        match character {
            '*' | '?' | '$' => literal.extend(["${", character.encode_utf8(&mut [0; 4]), "}"]),
            _ => literal.push(character),
        }
    }
    literal
}
