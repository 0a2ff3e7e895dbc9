//! `kind = "s3"`: the way there, the clock, credentials, objects, a presigned URL and, in redirect mode, CORS.

use std::path::Path;
use std::time::{Duration, SystemTime};

use http::Request;
use http_body_util::Empty;
use tokio::time::timeout;
use url::Url;

use super::network::reach;
use super::object::Objects;
use super::redirect;
use super::report::{Step, skip_rest};
use crate::backend::config::S3Config;
use crate::backend::http::{HttpClient, text};
use crate::backend::{BackendError, Presign, PresignOptions, PresignedUrl};
use crate::cli::in_words;
use crate::project::Delivery;

const ORDER: &[&str] = &[
    "name",
    "connect",
    "tls",
    "clock",
    "credentials",
    "list",
    "head",
    "range",
    "presign",
    "cors",
];
/// The chain tries several sources, the machine's own last.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
/// Beyond this a clock is wrong. S3 refuses at 15 minutes, and clocks that drift get there.
const MAX_SKEW: Duration = Duration::from_secs(300);
/// Signed and never sent: signing shows whose credentials there are, and which server would be asked.
const UNSENT_KEY: &str = "key";

/// Tries one S3 storage; `origin` is the first allowed one.
pub async fn check(
    s3: &S3Config,
    objects: &Objects<'_>,
    presign: Option<&dyn Presign>,
    origin: Option<&str>,
    stall_timeout: Duration,
) -> Vec<Step> {
    let client = match HttpClient::new(s3.ca_file.as_deref(), stall_timeout) {
        Ok(client) => client,
        Err(error) => return vec![Step::failed("tls", error.to_string(), "correct ca_file")],
    };
    let signed = match presign {
        Some(presign) => sign(presign, objects).await,
        None => Err(BackendError::NoCredentials("nothing signs".into())),
    };
    let mut steps = way(s3, signed.as_ref().ok(), &client).await;
    // A clock that is off stops nobody here: what storage says to it is told by the steps after it.
    let reached = !steps
        .iter()
        .any(|step| step.has_failed() && step.step != "clock");
    let credentials = match &signed {
        Ok(signed) => Step::ok("credentials", whose(signed, s3, objects)),
        Err(error) => objects.failed("credentials", error),
    };
    let signs = !credentials.has_failed();
    steps.push(credentials);
    if !reached {
        skip_rest(&mut steps, ORDER, "the storage cannot be reached");
        return steps;
    }
    if let (true, Some(presign)) = (signs, presign) {
        let readable = objects.check(&mut steps).await;
        if let Some(key) = readable {
            let probe = redirect::Probe {
                client: &client,
                s3,
                objects,
                presign,
                key: &key,
            };
            steps.push(probe.presigned().await);
            if objects.storage.delivery == Delivery::Redirect {
                steps.push(probe.cors(origin).await);
            }
        }
    }
    if objects.storage.delivery == Delivery::Proxy {
        steps.push(Step::skipped("cors", "only redirect mode needs it"));
    }
    skip_rest(&mut steps, ORDER, "nothing could be read");
    steps
}

/// The steps `name`, `connect`, `tls` and `clock`.
async fn way(s3: &S3Config, signed: Option<&PresignedUrl>, client: &HttpClient) -> Vec<Step> {
    let server = match signed {
        Some(signed) => server_of(signed),
        None => configured_server(s3),
    };
    let Some(server) = server else {
        return vec![Step::failed(
            "name",
            "bucket and endpoint together make no host's name",
            "set path_style = true, which keeps the bucket out of the host's name",
        )];
    };
    let ca_file: Option<&Path> = s3.ca_file.as_deref();
    let mut steps = reach(&server, ca_file).await;
    if !steps.iter().any(Step::has_failed) {
        steps.push(ask_the_time(&server, client).await);
    }
    steps
}

async fn sign(presign: &dyn Presign, objects: &Objects<'_>) -> Result<PresignedUrl, BackendError> {
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(60),
        content_type: None,
    };
    let location = objects.location(UNSENT_KEY);
    let signing = presign.presign(&location, &options);
    let late = |_| BackendError::NoCredentials("their source did not answer in 30 s".into());
    timeout(CREDENTIALS_TIMEOUT, signing).await.map_err(late)?
}

fn server_of(signed: &PresignedUrl) -> Option<Url> {
    let mut url = Url::parse(signed.url.expose()).ok()?;
    url.set_query(None);
    url.set_path("/");
    Some(url)
}

/// Where requests would go, for a storage whose credentials cannot be had.
fn configured_server(s3: &S3Config) -> Option<Url> {
    if let Some(endpoint) = &s3.endpoint {
        return Some(endpoint.clone());
    }
    let region = s3.region.as_deref().unwrap_or("us-east-1");
    Url::parse(&format!("https://s3.{region}.amazonaws.com/")).ok()
}

/// The end of the key's id, where it comes from, and when it ends.
fn whose(signed: &PresignedUrl, s3: &S3Config, objects: &Objects<'_>) -> String {
    let source = match (&s3.credentials, &s3.role_arn, &s3.profile) {
        (_, Some(role), _) => format!("by the role {role}"),
        (Some(_), None, _) => "from the configuration".to_owned(),
        (None, None, Some(profile)) => format!("of the profile {profile}"),
        (None, None, None) => "from the AWS SDK's default chain".to_owned(),
    };
    let end = match objects.backend.credential_expiry() {
        None => "without an end".to_owned(),
        Some(end) => {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            format!("for another {}", in_words(left))
        }
    };
    let tail = key_id_tail(signed.url.expose());
    format!("access key …{tail} {source}, {end}")
}

/// The last characters of the access key id, which a SigV4 URL names: enough to tell keys apart.
fn key_id_tail(url: &str) -> String {
    let credential = Url::parse(url).ok().and_then(|url| {
        let mut fields = url.query_pairs();
        fields.find_map(|(name, value)| (name == "X-Amz-Credential").then(|| value.into_owned()))
    });
    let credential = credential.unwrap_or_default();
    let id = credential.split('/').next().unwrap_or_default();
    let shown = (id.chars().count() / 2).min(4);
    let hidden = id.chars().count() - shown;
    id.chars().skip(hidden).collect()
}

/// Compares clocks by the `Date` of an answer, whatever it answers (RFC 9110 §6.6.1).
async fn ask_the_time(server: &Url, client: &HttpClient) -> Step {
    let request = Request::head(server.as_str()).body(Empty::new());
    let Ok(request) = request else {
        return Step::skipped("clock", "no request can be made");
    };
    let answer = match client.send(request).await {
        Ok(answer) => answer,
        Err(error) => return Step::skipped("clock", format!("no answer: {error}")),
    };
    let date = text(answer.headers(), http::header::DATE);
    match date.and_then(|date| httpdate::parse_http_date(date).ok()) {
        Some(theirs) => compare_clocks(theirs, SystemTime::now()),
        None => Step::skipped("clock", "the answer has no date"),
    }
}

/// The step `clock`, from what both clocks say.
pub fn compare_clocks(theirs: SystemTime, ours: SystemTime) -> Step {
    let (skew, direction) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if skew > MAX_SKEW {
        return Step::failed(
            "clock",
            format!("this machine is {} {direction} storage", in_words(skew)),
            "set the clock of this machine (NTP): S3 refuses signatures that are 15 minutes off",
        );
    }
    // `Date` has whole seconds, so that one of them means nothing.
    match skew.as_secs() {
        0 | 1 => Step::ok("clock", "as storage's"),
        seconds => Step::ok("clock", format!("{seconds} s {direction} storage's")),
    }
}
