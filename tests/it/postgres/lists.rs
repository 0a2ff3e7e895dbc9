//! Whole lists in and out: the schema made by many at once, a list that comes back as it was, mistakes that change nothing.

use crate::support::postgres::Postgres;

const LIST: &str = "
[[project]]
id = \"42\"
storages = [\"recordings\", \"desk\", \"archive\"]
members = [\"anna@example.com\", \"o'hara \\\"x\\\"\\n\\u0001\"]
groups = [\"labelers-eu\"]

[[project.task]]
id = \"7\"
media = [\"s3://acme/it's <a>, \\\"b\\\".mp4\", \"gs://b/x y\", \"/data/local-files/?d=clips/intro.wav\"]
assignees = [\"bo@example.com\"]

[[project.task]]
id = \"8\"
media = []

[[project]]
id = \"43\"
media = \"storage\"
storages = []
";

async fn imported(postgres: &Postgres, list: &str, more: &[&str]) -> Result<String, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("projects.toml");
    std::fs::write(&file, list).expect("it is written");
    let file = file.to_string_lossy();
    let output = postgres
        .try_verb(&[&["db", "import", &file], more].concat())
        .await;
    let text = crate::cli::said(&output);
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

#[tokio::test]
async fn what_is_exported_and_imported_again_is_what_was() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    imported(&postgres, LIST, &[])
        .await
        .expect("it is imported");
    let exported = postgres.verb(&["db", "export"]).await;
    // But for the order of keys, it is the list.
    let parse = |text: &str| text.parse::<toml::Table>().expect("TOML");
    assert_eq!(parse(&exported), parse(LIST), "{exported}");
    postgres.sql("delete from lockgate.project").await;
    imported(&postgres, &exported, &[])
        .await
        .expect("it is imported");
    assert_eq!(postgres.verb(&["db", "export"]).await, exported);
}

#[tokio::test]
async fn a_list_takes_the_place_of_its_projects_and_with_only_of_all() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    imported(&postgres, LIST, &[])
        .await
        .expect("it is imported");
    let other = "[[project]]\nid = '43'\nstorages = ['desk']\n[[project.task]]\nid = '9'\nmedia = ['s3://a/b']\n";
    let said = imported(&postgres, other, &[])
        .await
        .expect("it is imported");
    assert_eq!(said, "projects 1, tasks 1, projects taken out 0\n");
    let both = postgres.verb(&["db", "export"]).await;
    assert!(
        both.contains("labelers-eu") && both.contains("s3://a/b"),
        "{both}"
    );
    let said = imported(&postgres, other, &["--only"])
        .await
        .expect("it is imported");
    assert_eq!(said, "projects 1, tasks 1, projects taken out 1\n");
    let one = postgres.verb(&["db", "export"]).await;
    assert!(
        !one.contains("labelers-eu") && one.contains("s3://a/b"),
        "{one}"
    );
}

#[tokio::test]
async fn a_list_with_a_mistake_changes_nothing() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    imported(&postgres, LIST, &[])
        .await
        .expect("it is imported");
    let before = postgres.verb(&["db", "export"]).await;
    let broken = LIST.replace("gs://b/x y", "ftp://b/x");
    let said = imported(&postgres, &broken, &[])
        .await
        .expect_err("a mistake");
    assert!(
        said.contains("projects.toml:10: project[0].task[0].media[1]"),
        "{said}"
    );
    // A task of a project that the list does not have.
    let taken = "[[project]]\nid = '44'\nstorages = []\n[[project.task]]\nid = '7'\nmedia = []\n";
    let said = imported(&postgres, taken, &[])
        .await
        .expect_err("a mistake");
    assert!(said.contains("Key (id)=(7) already exists"), "{said}");
    assert_eq!(postgres.verb(&["db", "export"]).await, before);
}

#[tokio::test]
async fn who_migrates_at_the_same_time_waits_and_finds_it_done() {
    let Some(postgres) = Postgres::empty().await else {
        return;
    };
    let (first, second, third) = tokio::join!(
        postgres.verb(&["db", "migrate"]),
        postgres.verb(&["db", "migrate"]),
        postgres.verb(&["db", "migrate"])
    );
    let applied = [first, second, third];
    let who = applied
        .iter()
        .filter(|said| said.contains("applied 1 tables"));
    assert_eq!(who.count(), 1, "{applied:?}");
    assert!(
        postgres
            .verb(&["db", "migrate"])
            .await
            .contains("nothing to do")
    );
    postgres
        .sql("insert into lockgate.migration values (999, 'later')")
        .await;
    let later = crate::cli::said(&postgres.try_verb(&["db", "migrate"]).await);
    assert!(later.contains("use the newer Lockgate"), "{later}");
}
