//! What each pure hot piece of a request costs: token, decision, resolution, range, plan.
//!
//! `cargo bench --bench pieces`. Nothing here does I/O; what the wire adds is in `streaming`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lockgate::access::{Permit, authorize};
use lockgate::auth::{Annotator, AuthConfig, Authenticator, Credentials, Scope};
use lockgate::authority::{Candidate, Entitlement, Target};
use lockgate::content::plan;
use lockgate::media_uri::MediaUri;
use lockgate::project::{Delivery, MediaRule, Project, Task};
use lockgate::range::RangeSpec;
use lockgate::resolve::{Names, StorageRule, Storages};
use lockgate::secret::Secret;

const SECRET: &str = "a secret of the benches that is long enough for HS256";
const URI: &str = "s3://acme-recordings/datasets/production/2026/session-0042/camera-3.mp4";

fn authenticator() -> Authenticator {
    let config = AuthConfig {
        issuer: "https://platform.example.com".into(),
        audience: "lockgate".into(),
        algorithms: vec![Algorithm::HS256],
        hmac_secret: Some(Secret::new(SECRET)),
        public_key: None,
        private_key: None,
        jwks_url: None,
        leeway: Duration::from_secs(30),
        groups_claim: "groups".into(),
        query_token: false,
        secure_cookie: None,
    };
    Authenticator::new(config).expect("a configuration that holds")
}

/// A token that differs from every other by its subject.
fn token(number: u64) -> String {
    let claims = serde_json::json!({
        "iss": "https://platform.example.com", "aud": "lockgate",
        "sub": format!("annotator-{number}@example.com"), "groups": ["labelers-eu", "night"],
        "exp": jsonwebtoken::get_current_timestamp() + 3600,
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("HS256 signs")
}

fn token_verify(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let authenticator = runtime.block_on(async { authenticator() });
    let authenticator = &authenticator;
    let verify = async |token: String| {
        let credentials = Credentials {
            bearer: Some(&token),
            ..Credentials::default()
        };
        authenticator
            .authenticate(credentials, SystemTime::now())
            .await
            .expect("it holds")
    };
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        token(number)
    };
    c.bench_function("token/cold", |b| {
        b.to_async(&runtime)
            .iter_batched(&mut fresh, verify, BatchSize::SmallInput);
    });
    let known = token(0);
    c.bench_function("token/remembered", |b| {
        b.to_async(&runtime)
            .iter_batched(|| known.clone(), verify, BatchSize::SmallInput);
    });
}

/// An annotator of a project with 500 members, and a task of theirs that names twenty media.
fn question() -> (Annotator, Entitlement, Target, MediaUri) {
    let uri = MediaUri::parse(URI).expect("a media URI");
    let member = |number: usize| format!("annotator-{number}@example.com").as_str().into();
    let project = Arc::new(Project {
        id: "42".into(),
        storages: vec!["workstation".into(), "scans".into(), "recordings".into()],
        members: (0..500).map(member).collect(),
        groups: ["labelers-eu".into()].into(),
        media: MediaRule::Task,
    });
    let media =
        (0..20).map(|number| MediaUri::parse(&format!("{URI}.{number}")).expect("a media URI"));
    let task = Arc::new(Task {
        id: "1001".into(),
        project: project.id.clone(),
        assignees: vec![member(7), member(8)],
        media: media.chain([uri.clone()]).collect(),
    });
    let candidate = Candidate {
        project,
        task: Some(task.clone()),
        naming: [task].into(),
        place: None,
    };
    let annotator = Annotator {
        subject: member(8),
        groups: vec!["night".into()],
        expires_at: SystemTime::now() + Duration::from_secs(3600),
        scope: Scope::default(),
        presented: None,
    };
    let entitlement = Entitlement {
        candidates: vec![candidate],
        as_of: Instant::now(),
    };
    (annotator, entitlement, Target::Task("1001".into()), uri)
}

fn permit() -> Permit {
    let (annotator, entitlement, target, uri) = question();
    authorize(&annotator, &entitlement, &target, &uri, SystemTime::now()).expect("it is allowed")
}

fn decision(c: &mut Criterion) {
    let (annotator, entitlement, target, uri) = question();
    let now = SystemTime::now();
    c.bench_function("authorize", |b| {
        b.iter(|| authorize(black_box(&annotator), &entitlement, &target, &uri, now).is_ok());
    });
}

/// Twenty storages, three of which the project has.
fn storages() -> Storages {
    let rule = |id: &str, bucket: &str, prefix: &str| StorageRule {
        id: id.into(),
        epoch: 1,
        names: Names::S3 {
            bucket: bucket.into(),
            endpoint: None,
        },
        prefix: prefix.into(),
        pattern: None,
        delivery: Delivery::Proxy,
        presign_expiry: Duration::from_secs(3600),
    };
    let others =
        (0..17).map(|number| rule(&format!("other-{number}"), "acme-recordings", "datasets"));
    let own = [
        rule("workstation", "desk", ""),
        rule("scans", "acme-recordings", "datasets"),
        rule("recordings", "acme-recordings", "datasets/production/"),
    ];
    Storages::new(others.chain(own).collect())
}

fn resolution(c: &mut Criterion) {
    let (storages, permit) = (storages(), permit());
    c.bench_function("media uri/parse", |b| {
        b.iter(|| MediaUri::parse(black_box(URI)).is_ok())
    });
    c.bench_function("resolve", |b| {
        b.iter(|| storages.resolve(black_box(&permit)).is_ok())
    });
}

fn ranges(c: &mut Criterion) {
    c.bench_function("range/parse and satisfy", |b| {
        b.iter(|| {
            RangeSpec::parse(black_box(b"bytes=1048576-9437183")).map(|spec| spec.satisfy(5 << 30))
        });
    });
    c.bench_function("plan/chunks of 100 MiB", |b| {
        b.iter(|| {
            let range = black_box(3_000_000u64..107_857_600);
            let chunks = plan::chunk_index(range.start)..=plan::chunk_index(range.end - 1);
            chunks
                .map(|index| plan::chunk_range(index, 5 << 30).end)
                .max()
        });
    });
}

criterion_group!(pieces, token_verify, decision, resolution, ranges);
criterion_main!(pieces);
