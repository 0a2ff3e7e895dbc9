//! Google Cloud: a role with one permission, its binding below a prefix, signing, CORS, and federation without keys.
//!
//! Follows Cloud Storage's "IAM permissions", "IAM Conditions" and "CORS configurations", and IAM's "Workload
//! Identity Federation".

use serde_json::json;

use super::{Content, EXPOSED_HEADERS, MAX_AGE_SECONDS, Part, Wanted, shell};

const UNKNOWN: &str = "LOCKGATE@PROJECT.iam.gserviceaccount.com";

pub(super) fn parts(bucket: &str, wanted: &Wanted<'_>) -> Vec<Part> {
    let account = wanted.principal(UNKNOWN);
    let mut parts = vec![role(wanted), binding(bucket, account, wanted)];
    if wanted.redirect {
        parts.push(signing(account));
        parts.extend(cors(bucket, wanted));
    }
    parts.push(federation(account));
    parts
}

fn commands(name: &'static str, purpose: &str, lines: &[String]) -> Part {
    Part {
        name,
        purpose: purpose.into(),
        content: Content::Commands(lines.join("\n")),
    }
}

fn role(wanted: &Wanted<'_>) -> Part {
    let permissions = match wanted.list {
        true => "storage.objects.get,storage.objects.list",
        false => "storage.objects.get",
    };
    let create = format!(
        "gcloud iam roles create lockgateReader --project=PROJECT --stage=GA --permissions={permissions}"
    );
    commands(
        "role",
        "once a project: the one permission that reading needs",
        &[create],
    )
}

fn binding(bucket: &str, account: &str, wanted: &Wanted<'_>) -> Part {
    let url = shell(&format!("gs://{bucket}"));
    let member = shell(&format!("serviceAccount:{account}"));
    let mut binding = format!(
        "gcloud storage buckets add-iam-policy-binding {url} --member={member} --role=projects/PROJECT/roles/lockgateReader"
    );
    let mut purpose = "reading for Lockgate's service account".to_owned();
    if wanted.prefix.is_empty() {
        binding.push_str(" --condition=None");
    } else {
        // A listing is of the bucket itself, which a condition on objects' names would shut out.
        let objects = format!("projects/_/buckets/{bucket}/objects/{}", wanted.prefix);
        let objects = objects.replace('\\', r"\\").replace('"', r#"\""#);
        let listing = match wanted.list {
            true => " || resource.type == \"storage.googleapis.com/Bucket\"",
            false => "",
        };
        let condition = json!({
            "title": "lockgate",
            "expression": format!("resource.name.startsWith(\"{objects}\"){listing}"),
        });
        let file = shell(&condition.to_string());
        binding = format!(
            "printf '%s' {file} > condition.json\n{binding} --condition-from-file=condition.json"
        );
        purpose.push_str("; the condition needs uniform bucket-level access");
    }
    commands("binding", &purpose, &[binding])
}

fn signing(account: &str) -> Part {
    let (account, member) = (shell(account), shell(&format!("serviceAccount:{account}")));
    let line = format!(
        "gcloud iam service-accounts add-iam-policy-binding {account} --member={member} --role=roles/iam.serviceAccountTokenCreator"
    );
    let purpose = "only without a key file: lets the account sign URLs as itself (iam.serviceAccounts.signBlob)";
    commands("signing", purpose, &[line])
}

fn cors(bucket: &str, wanted: &Wanted<'_>) -> [Part; 2] {
    let rules = json!([{
        "origin": wanted.origins(),
        "method": ["GET", "HEAD"],
        "responseHeader": EXPOSED_HEADERS,
        "maxAgeSeconds": MAX_AGE_SECONDS,
    }]);
    let document = Part {
        name: "cors",
        purpose: "replaces the CORS rules of the bucket".into(),
        content: Content::Document {
            file: "cors.json",
            json: rules,
        },
    };
    let url = shell(&format!("gs://{bucket}"));
    let update = format!("gcloud storage buckets update {url} --cors-file=cors.json");
    [
        document,
        commands("cors-command", "puts cors.json in force", &[update]),
    ]
}

fn federation(account: &str) -> Part {
    let account = shell(account);
    let pool = "projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/lockgate";
    let lines = [
        "gcloud iam workload-identity-pools create lockgate --project=PROJECT --location=global".to_owned(),
        "gcloud iam workload-identity-pools providers create-oidc platform --project=PROJECT --location=global \
         --workload-identity-pool=lockgate --issuer-uri=https://ISSUER --attribute-mapping=google.subject=assertion.sub"
            .to_owned(),
        "# or, on AWS: gcloud iam workload-identity-pools providers create-aws platform --project=PROJECT \
         --location=global --workload-identity-pool=lockgate --account-id=AWS_ACCOUNT"
            .to_owned(),
        format!(
            "gcloud iam service-accounts add-iam-policy-binding {account} --role=roles/iam.workloadIdentityUser \
             --member=principal://iam.googleapis.com/{pool}/subject/SUBJECT"
        ),
        format!(
            "gcloud iam workload-identity-pools create-cred-config {pool}/providers/platform \
             --service-account={account} --credential-source-file=TOKEN_FILE --output-file=gcs.json"
        ),
    ];
    let purpose = "only without a key file and outside Google Cloud: the identity that the platform gives stands for \
                   the service account; gcs.json is then the storage's credentials";
    commands("federation", purpose, &lines)
}
