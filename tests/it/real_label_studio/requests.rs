//! The table of requests in `docs/label-studio-requests.md`, sent to Label Studio directly and through Lockgate.
//!
//! The page is the data: what a reader finds there is what the test sends and what it compares with.

use http::Method;

use super::answers::{Seen, keeps_the_law};
use super::instance::{Instance, root};
use super::{Failures, expect};
use crate::support::client::Ask;
use crate::support::uri::{percent, standard, unpadded};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// Fewer than these, and somebody has cut the page by mistake.
const FEWEST: usize = 60;

/// One line of the table.
struct Line {
    request: String,
    with: Vec<String>,
    label_studio: String,
    lockgate: String,
    why: String,
}

/// Which of the two servers is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    LabelStudio,
    Lockgate,
}

/// Sends every line to both.
pub async fn all(instance: &Instance, failures: &mut Failures) {
    let lines = lines();
    expect("at least sixty requests", lines.len() >= FEWEST, true).expect("a whole page");
    for line in &lines {
        let name = format!("{} {}", line.request, line.with.join("; "));
        failures.case(&name, compare(instance, line).await);
    }
}

async fn compare(instance: &Instance, line: &Line) -> Result<(), String> {
    let direct = ask(instance, line, Server::LabelStudio).await;
    let mut wrong = Vec::new();
    if direct.summary() != line.label_studio {
        wrong.push(format!(
            "Label Studio said `{}` instead of `{}`",
            direct.summary(),
            line.label_studio
        ));
    }
    if !instance.is_direct() {
        let through = ask(instance, line, Server::Lockgate).await;
        if through.summary() != line.lockgate {
            wrong.push(format!(
                "Lockgate said `{}` instead of `{}`",
                through.summary(),
                line.lockgate
            ));
        }
        if through.is_of_lockgate() {
            wrong.extend(keeps_the_law(&through).err());
        }
        if through.is_comparable() && line.why.is_empty() && !through.has_body_of(&direct) {
            wrong.push("the bodies differ".to_owned());
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

async fn ask(instance: &Instance, line: &Line, server: Server) -> Seen {
    let (method, target) = line.request.split_once(' ').expect("a method and a target");
    let method: Method = method.parse().expect("a method");
    let client = match server {
        Server::LabelStudio => &instance.label_studio,
        Server::Lockgate => &instance.lockgate,
    };
    let target = Target::of(instance, target, server);
    let own = match line.with.iter().any(|with| with.contains('{')) {
        true => validators(instance, client.get(&target.path)).await,
        false => Validators::default(),
    };
    let mut shown = Vec::new();
    let mut ask = client.ask(method.clone(), &target.path);
    let mut who = None;
    for with in &line.with {
        if let Some(name) = with.strip_suffix('?') {
            shown.push(name.to_owned());
        } else if let Some((name, value)) = with.split_once(": ") {
            let value = value.replace("{etag}", &own.etag);
            ask = ask.header(name, value.replace("{modified}", &own.modified));
        } else {
            who = Some(with.as_str());
        }
    }
    if server == Server::LabelStudio {
        // uwsgi closes after every answer without saying so, which a client that keeps connections takes for a failure.
        ask = ask.header("connection", "close");
    }
    let ask = by(ask, who, instance);
    let object = target.object.map(|name| instance.object(&name).clone());
    Seen::of(
        ask.send().await,
        &method,
        object,
        target.is_streamed,
        &shown,
    )
    .await
}

/// What a server itself says of an object's version.
#[derive(Default)]
struct Validators {
    etag: String,
    modified: String,
}

async fn validators(instance: &Instance, ask: Ask) -> Validators {
    let ask = authorized(ask, instance).range("bytes=0-0");
    let answer = ask.header("connection", "close").answer().await;
    Validators {
        etag: answer.header("etag").to_owned(),
        modified: answer.header("last-modified").to_owned(),
    }
}

/// Who asks: anna by her token where the line does not say otherwise.
fn by(ask: Ask, who: Option<&str>, instance: &Instance) -> Ask {
    let token = |name: &str| instance.user(name).token.clone();
    match who {
        None => authorized(ask, instance),
        Some("nobody") => ask,
        Some("an unknown token") => {
            ask.header("authorization", format!("Token {}", "0".repeat(40)))
        }
        Some("an unknown bearer") => ask.bearer("a.b.c"),
        Some("X-Api-Key") => ask.header("x-api-key", token("anna")),
        Some(name) => ask.header("authorization", format!("Token {}", token(name))),
    }
}

fn authorized(ask: Ask, instance: &Instance) -> Ask {
    let token = &instance.user("anna").token;
    ask.header("authorization", format!("Token {token}"))
}

/// Where a line's request goes, on one of the two servers.
struct Target {
    path: String,
    object: Option<String>,
    is_streamed: bool,
}

impl Target {
    /// `{image.png}` is the task's route to that object; `{how:image.png}` another route or spelling.
    ///
    /// Label Studio streams an object itself only where presigned URLs are off, so that it is asked for a task of such a
    /// project, and Lockgate for one where they are on. `{presigned:…}` and `{streamed:…}` ask both for the same task.
    fn of(instance: &Instance, target: &str, server: Server) -> Self {
        let Some((before, rest)) = target.split_once('{') else {
            return Self {
                path: target.to_owned(),
                object: None,
                is_streamed: false,
            };
        };
        let (inside, after) = rest.split_once('}').expect("a closing brace");
        let (how, object) = inside.split_once(':').unwrap_or(("", inside));
        let project = match (how, server) {
            ("presigned", _) => "everything",
            ("streamed", _) | (_, Server::LabelStudio) => "streamed",
            (_, Server::Lockgate) => "everything",
        };
        let (task, project) = (instance.task(project), instance.project(project));
        if how == "task" {
            return Self {
                path: format!("{before}{}{after}", instance.task(object)),
                object: None,
                is_streamed: false,
            };
        }
        let path = route(how, &instance.object(object).uri, task, project);
        Self {
            path: format!("{before}{path}{after}"),
            object: Some(object.to_owned()),
            is_streamed: how == "streamed",
        }
    }
}

/// A route to a URI, or a way to write one.
fn route(how: &str, uri: &str, task: u64, project: u64) -> String {
    let base64 = URL_SAFE.encode(uri);
    let of_task = |fileuri: &str| format!("/tasks/{task}/resolve/?fileuri={fileuri}");
    match how {
        "" | "presigned" | "streamed" => of_task(&base64),
        "encoded" => of_task(&percent(&base64)),
        "standard" => of_task(&standard(uri)),
        "unpadded" => of_task(&unpadded(uri)),
        "percent" => of_task(&percent(uri)),
        "presign" => format!("/tasks/{task}/presign/?fileuri={base64}"),
        "project" => format!("/projects/{project}/resolve/?fileuri={base64}"),
        "project-presign" => format!("/projects/{project}/presign/?fileuri={base64}"),
        "no-slash" => format!("/tasks/{task}/resolve?fileuri={base64}"),
        "query" => format!("fileuri={base64}"),
        "route" => format!("/tasks/{task}/resolve/"),
        other => panic!("{other} is no route"),
    }
}

/// The page's lines.
fn lines() -> Vec<Line> {
    let page = std::fs::read_to_string(root().join("docs/label-studio-requests.md"));
    let page = page.expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(Line::parse).collect()
}

impl Line {
    fn parse(text: &str) -> Self {
        let columns: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [request, with, label_studio, lockgate, why] = columns[..] else {
            panic!("not five columns: {text}");
        };
        let bare = |text: &str| text.replace('`', "");
        let with = bare(with);
        Self {
            request: bare(request),
            with: with
                .split("; ")
                .filter(|one| !one.is_empty())
                .map(str::to_owned)
                .collect(),
            label_studio: bare(label_studio),
            lockgate: if lockgate == "same" {
                bare(label_studio)
            } else {
                bare(lockgate)
            },
            why: why.to_owned(),
        }
    }
}

#[test]
fn every_difference_in_the_table_has_a_reason_and_nothing_else_has() {
    let lines = lines();
    assert!(lines.len() >= FEWEST, "{} lines", lines.len());
    for line in lines {
        let differs = line.label_studio != line.lockgate;
        assert_eq!(differs, !line.why.is_empty(), "{}", line.request);
    }
}
