//! One list, two sources: whatever is asked, a list in a file and the same list in PostgreSQL decide alike.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockgate::access::{Denied, authorize};
use lockgate::auth::{Annotator, Scope};
use lockgate::authority::file::FileAuthority;
use lockgate::authority::postgres::{PostgresAuthority, PostgresConfig};
use lockgate::authority::{Authority, Target};
use lockgate::media_uri::MediaUri;
use lockgate::project::MediaRule;
use lockgate::secret::Secret;

use crate::support::postgres::{Postgres, READER};

const SUBJECTS: [&str; 5] = ["anna", "bo", "chen", "o'hara \"x\"; --", "\u{1f512}"];
const GROUPS: [&str; 4] = ["a", "b", "c{,}\"", ""];
const STORAGES: [&str; 3] = ["media", "desk", "three"];
const URIS: [&str; 10] = [
    "s3://media/a.mp4",
    "s3://media/a.mp4 ",
    "https://media.s3.eu-central-1.amazonaws.com/a.mp4",
    "s3://media/%61.mp4",
    "gs://b/x y'\"\\{},null.png",
    "azure-blob://c/\u{e9}\u{1f512}",
    "https://host.example.com:8443/p%20q/r",
    "/data/local-files/?d=clips/intro.wav",
    "local://desk/clips/intro.wav",
    "redis://h/0/key",
];

/// A small deterministic choice, so that a failure is the same again.
struct Draw(fastrand::Rng);

impl Draw {
    fn some<'a>(&mut self, of: &[&'a str], odds: f64) -> Vec<&'a str> {
        let all = of.iter().copied();
        all.filter(|_| self.0.f64() < odds).collect()
    }

    /// A list of five projects with up to six tasks each.
    fn list(&mut self) -> String {
        let mut list = String::new();
        for project in 0..5 {
            let storages = self.some(&STORAGES, 0.6);
            let _ = writeln!(
                list,
                "[[project]]\nid = '{project}'\nstorages = {storages:?}"
            );
            let (members, groups) = (self.some(&SUBJECTS, 0.4), self.some(&GROUPS, 0.3));
            let _ = writeln!(
                list,
                "members = {}\ngroups = {}",
                toml_list(&members),
                toml_list(&groups)
            );
            match self.0.u8(..4) {
                0 => list.push_str("media = 'storage'\n"),
                1 => list.push_str("media = 'task'\n"),
                _ => {}
            }
            for task in 0..self.0.u8(..7) {
                let (media, assignees) = (self.some(&URIS, 0.3), self.some(&SUBJECTS, 0.15));
                let _ = writeln!(list, "[[project.task]]\nid = '{project}{task}'");
                let (media, assignees) = (toml_list(&media), toml_list(&assignees));
                let _ = writeln!(list, "media = {media}\nassignees = {assignees}");
            }
        }
        list
    }

    fn annotator(&mut self) -> Annotator {
        let groups = self.some(&GROUPS, 0.3);
        Annotator {
            subject: SUBJECTS[self.0.usize(..SUBJECTS.len())].into(),
            groups: groups.into_iter().map(Arc::from).collect(),
            expires_at: SystemTime::now() + Duration::from_secs(3600),
            scope: Scope::default(),
            presented: None,
        }
    }

    fn target(&mut self) -> Target {
        match self.0.u8(..5) {
            0 => Target::AnyProject,
            1 => Target::Project(self.0.u8(..6).to_string().as_str().into()),
            _ => {
                let (project, task) = (self.0.u8(..6), self.0.u8(..7));
                Target::Task(format!("{project}{task}").as_str().into())
            }
        }
    }
}

fn toml_list(items: &[&str]) -> String {
    let items = items.iter().map(|it| toml::Value::from(*it));
    toml::Value::Array(items.collect()).to_string()
}

/// The projects that permit with their storages, or why none does; of any project the reason is not compared, for
/// PostgreSQL is asked for those alone that permit.
type Decision = Result<BTreeSet<(String, Vec<String>)>, Option<Denied>>;

async fn decide(
    source: &dyn Authority,
    who: &Annotator,
    target: &Target,
    uri: &MediaUri,
) -> Decision {
    let facts = source.entitle(who, target, uri).await.expect("it answers");
    match authorize(who, &facts, target, uri, SystemTime::now()) {
        Ok(permit) => Ok(permit
            .projects()
            .iter()
            .map(|it| {
                let storages = it.storages.iter().map(ToString::to_string);
                (it.id.to_string(), storages.collect())
            })
            .collect()),
        Err(_) if *target == Target::AnyProject => Err(None),
        Err(denied) => Err(Some(denied)),
    }
}

fn open(postgres: &Postgres, media: MediaRule) -> PostgresAuthority {
    let config = PostgresConfig::parse(&Secret::new(postgres.url(READER))).expect("a URL");
    PostgresAuthority::open(&config, media, Duration::from_secs(3600)).expect("it opens")
}

#[tokio::test]
async fn a_list_in_a_file_and_in_postgres_decide_alike() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("projects.toml");
    let mut draw = Draw(fastrand::Rng::with_seed(7));
    let (mut permitted, mut denied) = (0, BTreeSet::new());
    for round in 0..8 {
        let list = draw.list();
        std::fs::write(&file, &list).expect("it is written");
        postgres
            .verb(&["db", "import", "--only", &file.to_string_lossy()])
            .await;
        // The rule of projects that have none is the configuration's in both.
        let media = [MediaRule::Task, MediaRule::Storage][round % 2];
        let list_file = FileAuthority::open(file.clone(), media).expect(&list);
        let tables = open(&postgres, media);
        for _ in 0..400 {
            let (who, target) = (draw.annotator(), draw.target());
            let uri = MediaUri::parse(URIS[draw.0.usize(..URIS.len())]).expect("a URI");
            let expected = decide(&*list_file, &who, &target, &uri).await;
            let decided = decide(&tables, &who, &target, &uri).await;
            assert_eq!(decided, expected, "{who:?} {target:?} {uri}\n{list}");
            match expected {
                Ok(_) => permitted += 1,
                Err(why) => drop(denied.insert(format!("{why:?}"))),
            }
        }
    }
    // The cases are worth something: every reason came up.
    assert!(permitted > 200, "{permitted}");
    assert_eq!(denied.len(), 5, "{denied:?}");
}

/// What PostgreSQL cannot hold is in no list of it, and no reason to take it for being down.
#[tokio::test]
async fn a_name_with_a_nul_in_it_is_unknown_and_no_failure() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    postgres.sql(super::LIST).await;
    let tables = open(&postgres, MediaRule::Task);
    let who = |subject: &str, group: &str| Annotator {
        subject: subject.into(),
        groups: vec![group.into()],
        expires_at: SystemTime::now() + Duration::from_secs(3600),
        scope: Scope::default(),
        presented: None,
    };
    let media = MediaUri::parse("s3://media/a.mp4").expect("a URI");
    let nul = MediaUri::parse("s3://media/a\0.mp4").expect("a URI");
    let task = |id: &str| Target::Task(id.into());
    for (who, target, uri, expected) in [
        (who("anna", "x\0"), task("7"), &media, None),
        (
            who("an\0na", "x"),
            task("7"),
            &media,
            Some(Denied::NotMember),
        ),
        (who("anna", "x"), task("7\0"), &media, Some(Denied::Unknown)),
        (who("anna", "x"), task("7"), &nul, Some(Denied::NotInTask)),
    ] {
        let decided = decide(&tables, &who, &target, uri).await;
        assert_eq!(decided.err(), expected.map(Some), "{who:?} {target:?}");
    }
}
