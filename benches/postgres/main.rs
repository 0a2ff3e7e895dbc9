//! What a decision costs with access lists in PostgreSQL: cold (one question) and warm (remembered), and the memory it
//! takes. `benches/postgres/run` makes the database and runs this; alone it needs `LOCKGATE_DATABASE_URL` and `TASKS`.

use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use lockgate::access::authorize;
use lockgate::auth::{Annotator, Scope};
use lockgate::authority::postgres::{PostgresAuthority, PostgresConfig};
use lockgate::authority::{Authority, Target};
use lockgate::media_uri::MediaUri;
use lockgate::project::MediaRule;
use lockgate::secret::Secret;

/// How long it may take until changes are heard of.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tasks on an annotator's screen, or of their day: asked for again and again.
const REMEMBERED: u64 = 1_000;
const AT_ONCE: u64 = 8;

/// How often each kind of question is put.
struct Times {
    cold: u64,
    warm: u64,
    /// More than is remembered, so that what is remembered is bounded by its limit.
    distinct: u64,
}

const ALL: Times = Times {
    cold: 20_000,
    warm: 1_000_000,
    distinct: 200_000,
};
/// To see whether it runs to its end.
const QUICK: Times = Times {
    cold: 400,
    warm: 10_000,
    distinct: 2_000,
};

fn main() {
    let url = std::env::var("LOCKGATE_DATABASE_URL").ok();
    let tasks = std::env::var("TASKS").ok().and_then(|n| n.parse().ok());
    let (Some(url), Some(tasks)) = (url, tasks) else {
        eprintln!("LOCKGATE_DATABASE_URL and TASKS are not set: run benches/postgres/run");
        return;
    };
    let times = match std::env::var_os("QUICK") {
        Some(_) => QUICK,
        None => ALL,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(measure(&url, tasks, &times));
}

async fn measure(url: &str, tasks: u64, of: &Times) {
    let config = PostgresConfig::parse(&Secret::new(url)).expect("a URL");
    let hour = Duration::from_secs(3600);
    let authority = PostgresAuthority::open(&config, MediaRule::Task, hour).expect("it opens");
    let authority = &authority;
    let begun = Instant::now();
    while !authority.ready() {
        assert!(begun.elapsed() < PATIENCE, "PostgreSQL is not heard");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let resident = resident_mib();
    // Connections are made and statements prepared, once.
    join_all((0..64).map(|n| decide(authority, n))).await;

    let mut random = fastrand::Rng::with_seed(7);
    let mut fresh = || random.u64(64..tasks);
    let mut times = Vec::new();
    for _ in 0..of.cold {
        let (number, begun) = (fresh(), Instant::now());
        decide(authority, number).await;
        times.push(begun.elapsed());
    }
    say("cold, one after the other", times, of.cold);

    let (mut times, begun) = (Vec::new(), Instant::now());
    for _ in 0..of.cold / AT_ONCE {
        let timed = (0..AT_ONCE).map(|_| fresh()).map(async |number| {
            let begun = Instant::now();
            decide(authority, number).await;
            begun.elapsed()
        });
        times.extend(join_all(timed).await);
    }
    let rate = of.cold as f64 / begun.elapsed().as_secs_f64();
    say("cold, eight at once", times, of.cold);
    println!("  {rate:.0} decisions a second");

    let mut times = Vec::new();
    for _ in 0..of.cold / 4 {
        let (number, begun) = (fresh(), Instant::now());
        on_project(authority, number).await;
        times.push(begun.elapsed());
    }
    say("cold, on the project's route", times, of.cold / 4);

    for number in 0..REMEMBERED {
        decide(authority, number).await;
    }
    let mut times = Vec::new();
    for number in 0..of.warm {
        let begun = Instant::now();
        decide(authority, number % REMEMBERED).await;
        times.push(begun.elapsed());
    }
    say("warm", times, of.warm);

    println!(
        "resident memory: at start {resident} MiB, now {} MiB",
        resident_mib()
    );
    for chunk in (0..of.distinct).collect::<Vec<_>>().chunks(64) {
        join_all(
            chunk
                .iter()
                .map(|_| fresh())
                .map(|number| decide(authority, number)),
        )
        .await;
    }
    println!(
        "  after {} distinct questions more: {} MiB",
        of.distinct,
        resident_mib()
    );
}

fn annotator(number: u64) -> Annotator {
    Annotator {
        subject: format!("annotator-{}", number / 10 % 50).as_str().into(),
        groups: vec!["labelers-eu".into()],
        expires_at: SystemTime::now() + Duration::from_secs(3600),
        scope: Scope::default(),
        presented: None,
    }
}

fn media(number: u64) -> MediaUri {
    let session = number / 100;
    let uri =
        format!("s3://acme-recordings/datasets/production/session-{session}/camera-{number}.mp4");
    MediaUri::parse(&uri).expect("a URI")
}

async fn decide(authority: &PostgresAuthority, number: u64) {
    ask(
        authority,
        number,
        Target::Task(number.to_string().as_str().into()),
    )
    .await;
}

async fn on_project(authority: &PostgresAuthority, number: u64) {
    let project = (number % 1000).to_string();
    ask(authority, number, Target::Project(project.as_str().into())).await;
}

async fn ask(authority: &PostgresAuthority, number: u64, target: Target) {
    let (who, uri) = (annotator(number), media(number));
    let facts = authority
        .entitle(&who, &target, &uri)
        .await
        .expect("it answers");
    authorize(&who, &facts, &target, &uri, SystemTime::now()).expect("it is permitted");
}

fn say(what: &str, mut times: Vec<Duration>, of: u64) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let (p50, p99) = (at(0.5), at(0.99));
    println!("{what}: p50 {p50:.1?}, p99 {p99:.1?} (of {of})");
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes
        .and_then(|it| it.parse::<u64>().ok())
        .unwrap_or_default()
        / 1024
}
