//! Against a scripted Label Studio over a real socket, whose answers are those of 1.23.2, trimmed.

mod decisions;
mod files;
mod memory;
mod projects;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::access::{Denied, Permit, authorize};
use crate::ask::scripted::{Question, Reply, Scripted, json as reply, see_other, status};
use crate::auth::Scope;
use crate::auth::label_studio::Sessions;

pub(super) const MAX_AGE: Duration = Duration::from_secs(5);

/// A Label Studio with two users of one organization, three projects and their tasks.
pub(super) fn studio(question: &Question) -> Reply {
    let token = question.fields.get("authorization").map(String::as_str);
    if !matches!(token, Some("Token anna" | "Token bert")) {
        return (
            401,
            "www-authenticate: Token\r\n".into(),
            r#"{"status_code":401}"#.into(),
        );
    }
    let url: url::Url = format!("http://studio{}", question.path)
        .parse()
        .expect("a path");
    let query = |name: &str| {
        let pair = url.query_pairs().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.into_owned())
    };
    let segments: Vec<&str> = url.path().split('/').filter(|it| !it.is_empty()).collect();
    match segments[..] {
        ["api", "tasks", id] => match tasks().into_iter().find(|task| is(&task["id"], id)) {
            Some(task) => reply(task),
            None => not_found(),
        },
        ["api", "tasks"] => page(
            &query("project").expect("one"),
            &query("query").expect("one"),
        ),
        ["api", "storages", kind] => storages(kind, &query("project").expect("one")),
        ["api", "projects"] => {
            reply(json!({"count": 3, "results": [{"id": 3}, {"id": 2}, {"id": 1}]}))
        }
        ["data", "local-files"] => match query("d").expect("one").starts_with("ds/") {
            true => (304, "etag: W/\"1-2\"\r\n".into(), String::new()),
            false => status(404),
        },
        ["tasks" | "projects", _, "resolve"] => resolve(&query("fileuri").expect("one")),
        _ => status(500),
    }
}

fn is(number: &Value, written: &str) -> bool {
    number.as_u64() == written.parse().ok()
}

fn not_found() -> Reply {
    let body =
        r#"{"status_code":404,"version":"1.23.2","detail":"No Task matches the given query."}"#;
    (
        404,
        "content-type: application/json\r\n".into(),
        body.into(),
    )
}

fn tasks() -> Vec<Value> {
    let task = |id: u64, project: u64, data: Value| json!({"id": id, "project": project, "data": data, "annotations": [], "meta": {}, "overlap": 1});
    vec![
        task(
            1,
            1,
            json!({"image": "s3://media/data/a.png", "text": "see s3://media/data/b%20c.png"}),
        ),
        task(
            2,
            1,
            json!({"image": ["s3://media/data-private/x.png", "s3://media/data/a?b.png"]}),
        ),
        task(
            3,
            2,
            json!({"image": "s3://media/data/a.png", "page": "dbx://Volumes/c/s/v/a.png"}),
        ),
        task(
            4,
            3,
            json!({"image": "/data/local-files/?d=ds%2Fa%20b.txt"}),
        ),
        task(
            5,
            1,
            json!({"image": "s3://vault/data/a.png", "url": "https://minio.example.com/vault/k"}),
        ),
        task(6, 1, json!({"image": "/data/local-files/?d=other/c.txt"})),
    ]
}

fn page(project: &str, query: &str) -> Reply {
    if !["1", "2", "3"].contains(&project) {
        return not_found();
    }
    let query = percent_encoding::percent_decode_str(query)
        .decode_utf8()
        .expect("text");
    let query: Value = serde_json::from_str(&query).expect("it is encoded twice");
    let words = query["filters"]["items"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut found = tasks();
    found.retain(|task| {
        let data = task["data"].to_string().to_lowercase();
        let included = query["selectedItems"]["included"].as_array();
        is(&task["project"], project)
            && included.is_none_or(|ids| ids.contains(&task["id"]))
            && words
                .iter()
                .all(|word| data.contains(&word["value"].as_str().expect("a word").to_lowercase()))
    });
    reply(json!({"tasks": found, "total": found.len(), "total_annotations": 0}))
}

fn storages(kind: &str, project: &str) -> Reply {
    let bucket = |id: u64, presign: bool| {
        json!([{"id": id, "type": "s3", "presign": presign, "bucket": "media", "prefix": "data",
            "regex_filter": null, "s3_endpoint": null, "presign_ttl": 1, "project": 1}])
    };
    reply(match (kind, project) {
        ("s3", "1") => bucket(1, true),
        ("s3", "2") => bucket(2, false),
        ("localfiles", "3") => {
            json!([{"id": 1, "type": "localfiles", "path": "/files/ds", "project": 3}])
        }
        (_, "1" | "2" | "3") => json!([]),
        _ => return not_found(),
    })
}

/// Signs as Label Studio does: without what follows a `?`, and without a look at prefix or task.
fn resolve(fileuri: &str) -> Reply {
    use base64::Engine as _;
    let uri = base64::engine::general_purpose::URL_SAFE
        .decode(fileuri)
        .expect("base64");
    let uri = String::from_utf8(uri).expect("text");
    let Some(key) = uri.strip_prefix("s3://media/") else {
        return status(404);
    };
    let key = key.split('?').next().expect("one").replace('%', "%25");
    see_other(&format!(
        "http://127.0.0.1:9/media/{key}?X-Amz-Credential=AK%2F20261122&X-Amz-Date=20261122T044501Z&X-Amz-Expires=60&X-Amz-Signature=7e88"
    ))
}

pub(super) struct Fixture {
    pub(super) studio: Scripted,
    pub(super) authority: LabelStudioAuthority,
    pub(super) urls: Arc<SignedUrls>,
    now: Arc<Mutex<Instant>>,
}

/// Lockgate with no storages of its own, the rule `task`, and five seconds.
pub(super) async fn fixture() -> Fixture {
    with(MediaRule::Task, MAX_AGE, |_| Vec::new()).await
}

pub(super) async fn with(
    media: MediaRule,
    max_age: Duration,
    own: impl Fn(&MediaUri) -> Vec<Held> + Send + Sync + 'static,
) -> Fixture {
    let studio = Scripted::start(studio).await;
    let asker = Arc::new(Asker::new(&studio.url, None).expect("an asker"));
    let now = Arc::new(Mutex::new(Instant::now()));
    let clock = now.clone();
    let clock: Clock = Arc::new(move || *clock.lock().expect("no panic"));
    let urls = Arc::new(SignedUrls::default());
    let config = AccessConfig {
        source: crate::authority::AccessSource::File(PathBuf::new()),
        media,
        max_age,
    };
    let named = |it: &str| MediaUri::parse(it).expect("a URI");
    let own = OwnStorages {
        local_files: !own(&named("/data/local-files/?d=ds/any")).is_empty(),
        holding: Arc::new(own),
    };
    let authority = LabelStudioAuthority::with_clock(asker, &config, own, urls.clone(), clock);
    Fixture {
        studio,
        authority,
        urls,
        now,
    }
}

/// What became of a request, as far as the first rooms go.
#[derive(Debug)]
pub(super) enum Outcome {
    Permitted(Permit),
    Denied(Denied),
    NotAuthenticated,
    Unavailable,
}

impl Outcome {
    pub(super) fn permit(self) -> Permit {
        match self {
            Self::Permitted(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    /// Permitted, and lies behind a signed URL.
    pub(super) fn signed(self) -> ObjectLocation {
        match self.permit().place() {
            Some(Place::Signed(location)) => location.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn denied(self) -> Denied {
        match self {
            Self::Denied(denied) => denied,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) use crate::object::ObjectLocation;

pub(super) fn annotator(token: &str) -> Annotator {
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        format!("Token {token}").parse().expect("a value"),
    );
    let presented = Presented::of(&headers, &Sessions::default()).expect("a token");
    Annotator {
        subject: format!("{token}@example.com").as_str().into(),
        groups: Vec::new(),
        expires_at: SystemTime::now() + Duration::from_secs(3600),
        scope: Scope::default(),
        presented: Some(Arc::new(presented)),
    }
}

pub(super) fn task(id: &str) -> Target {
    Target::Task(id.into())
}

pub(super) fn project(id: &str) -> Target {
    Target::Project(id.into())
}

impl Fixture {
    pub(super) async fn ask(&self, token: &str, target: Target, uri: &str) -> Outcome {
        let (annotator, uri) = (annotator(token), MediaUri::parse(uri).expect("a URI"));
        match self.authority.entitle(&annotator, &target, &uri).await {
            Ok(entitlement) => {
                match authorize(&annotator, &entitlement, &target, &uri, SystemTime::now()) {
                    Ok(permit) => Outcome::Permitted(permit),
                    Err(denied) => Outcome::Denied(denied),
                }
            }
            Err(AuthorityError::NotAuthenticated) => Outcome::NotAuthenticated,
            Err(AuthorityError::Unavailable(_)) => Outcome::Unavailable,
        }
    }

    pub(super) fn later(&self, seconds: u64) {
        *self.now.lock().expect("no panic") += Duration::from_secs(seconds);
    }

    pub(super) fn questions(&self) -> usize {
        self.studio.count("/")
    }
}

/// Left to Label Studio, on a route and in its own spelling.
pub(super) fn passed(route: &str, uri: &str) -> Place {
    use base64::Engine as _;
    let uri = base64::engine::general_purpose::URL_SAFE.encode(uri);
    Place::Application(format!("{route}/resolve/?fileuri={uri}").into())
}

pub(super) fn held(storage: &str, uri: &str) -> Held {
    Held {
        storage: storage.into(),
        uri: MediaUri::parse(uri).expect("a URI"),
        root: None,
    }
}
