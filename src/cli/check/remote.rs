//! Stores over a network, in the order in which a request would fail: the way there, the clock, credentials, objects
//! and, in redirect mode, a presigned URL and CORS. One flow; what differs stands in `provider`.

use std::time::{Duration, SystemTime};

use http::Request;
use http_body_util::Empty;
use url::Url;

use super::network::{Server, reach};
use super::object::Objects;
use super::provider::{self, Naming};
use super::redirect::Probe;
use super::report::{Step, skip_rest};
use super::s3;
use crate::backend::Presign;
use crate::backend::config::{BackendConfig, Hedge};
use crate::backend::http::{HttpClient, text};
use crate::backend::proxy::proxy_of;
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
/// Those that have no URL to redirect to end with this step.
const BEFORE_PRESIGN: usize = 8;
/// Beyond this a clock is wrong. S3 and Azure refuse at 15 minutes, and clocks that drift get there.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// Tries one storage; a browser's pages come from `origins`.
pub async fn check(
    objects: &Objects<'_>,
    presign: Option<&dyn Presign>,
    origins: &[String],
    client: &HttpClient,
) -> Vec<Step> {
    let backend = &objects.storage.backend;
    let (server, credentials) = match (backend, presign) {
        (BackendConfig::S3(_), Some(presign)) => s3::signed(objects, presign).await,
        _ => (provider::server(backend), None),
    };
    let mut steps = way(backend, server, client).await;
    // A clock that is off stops nobody here: what storage says to it is told by the steps after it.
    let reached = !steps
        .iter()
        .any(|step| step.has_failed() && step.step != "clock");
    let can_ask = !credentials.as_ref().is_some_and(Step::has_failed);
    steps.extend(credentials);
    if reached && can_ask {
        let readable = objects.check(&mut steps).await;
        if !steps.iter().any(|step| step.step == "credentials") {
            steps.push(Step::ok("credentials", whose(objects)));
        }
        if let (Some(key), Some(presign)) = (&readable, presign) {
            let probe = Probe {
                client,
                objects,
                presign,
                key,
            };
            steps.extend(redirected(&probe, origins).await);
        }
    }
    let reason = match reached {
        true => "an earlier step failed",
        false => "the storage cannot be reached",
    };
    complete(&mut steps, objects, reason);
    steps.extend(objects.storage.hedge.map(hedged));
    steps
}

/// The step `hedge`, where slow reads are sent twice: nothing to try, and something to know of.
fn hedged(hedge: Hedge) -> Step {
    let after = match hedge {
        Hedge::P95 => "in the time that 95 in 100 take".to_owned(),
        Hedge::After(after) => format!("in {after:?}"),
    };
    let detail = format!("a read not answered {after} is sent again, one in twenty at most");
    Step::ok("hedge", detail)
}

/// The steps `presign` and `cors`, where browsers are sent to storage: reading for them needs no permission to sign.
async fn redirected(probe: &Probe<'_>, origins: &[String]) -> Vec<Step> {
    match probe.objects.storage.delivery {
        Delivery::Proxy | Delivery::Application => vec![],
        Delivery::Redirect => vec![probe.presigned().await, probe.cors(origins).await],
    }
}

/// Adds the steps that were not come to.
fn complete(steps: &mut Vec<Step>, objects: &Objects<'_>, reason: &str) {
    let order = order(&objects.storage.backend);
    if objects.storage.delivery == Delivery::Proxy && order.contains(&"presign") {
        let unneeded = |step| Step::skipped(step, "only redirect mode needs it");
        steps.extend(["presign", "cors"].map(unneeded));
    }
    skip_rest(steps, order, reason);
}

fn order(backend: &BackendConfig) -> &'static [&'static str] {
    match backend {
        BackendConfig::S3(_) | BackendConfig::Azure(_) | BackendConfig::Gcs(_) => ORDER,
        BackendConfig::Databricks(_) | BackendConfig::Redis(_) | BackendConfig::Local(_) => {
            &ORDER[..BEFORE_PRESIGN]
        }
    }
}

/// The steps `name`, `connect`, `tls` and `clock`.
async fn way(backend: &BackendConfig, server: Option<Url>, client: &HttpClient) -> Vec<Step> {
    let naming = Naming::of(backend);
    let Some(url) = server else {
        let advice = format!("correct {}{}", naming.made_of, naming.hint);
        let detail = "the configuration makes no host's name";
        return vec![Step::failed("name", detail, advice)];
    };
    let over_http = !matches!(backend, BackendConfig::Redis(_));
    let mut steps = match proxy_of(&url).filter(|_| over_http) {
        Some(proxy) => reach_proxy(&proxy).await,
        None => {
            let ca_file = backend.ca_file();
            reach(&Server {
                url: &url,
                ca_file,
                naming,
            })
            .await
        }
    };
    if !steps.iter().any(Step::has_failed) {
        steps.push(match over_http {
            true => ask_the_time(&url, client).await,
            false => Step::skipped("clock", "nothing is signed here"),
        });
    }
    steps
}

/// The way ends for us at the proxy: what lies behind it, TLS included, is shown by the requests that follow.
async fn reach_proxy(proxy: &Url) -> Vec<Step> {
    let mut steps = reach(&Server {
        url: proxy,
        ca_file: None,
        naming: Naming::PROXY,
    })
    .await;
    for step in &mut steps {
        match step.step {
            "tls" => step.detail = "goes through the proxy, and shows below".into(),
            _ => step.detail = format!("proxy {}", step.detail),
        }
    }
    steps
}

/// Who asked, and until when that holds.
fn whose(objects: &Objects<'_>) -> String {
    let whose = provider::whose(&objects.storage.backend);
    match objects.backend.credential_expiry() {
        None => whose,
        Some(end) => {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            format!("{whose}, for another {}", in_words(left))
        }
    }
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
            "set the clock of this machine (NTP): signatures that are 15 minutes off are refused",
        );
    }
    // `Date` has whole seconds, so that one of them means nothing.
    match skew.as_secs() {
        0 | 1 => Step::ok("clock", "as storage's"),
        seconds => Step::ok("clock", format!("{seconds} s {direction} storage's")),
    }
}
