//! What works and should not stay: each a warning that names its place.

use super::*;

fn warnings(text: &str, more: &[(&str, &str)]) -> Vec<String> {
    load_text(text, more).expect("it loads").warnings
}

#[test]
fn without_tls_a_cookie_that_is_not_secure_is_warned_about_unless_it_is_said() {
    let insecure = warnings(SMALL, &[]);
    let [warning] = &insecure[..] else {
        panic!("{insecure:?}");
    };
    assert!(
        warning.starts_with("etc/lockgate.toml:3: auth.secure_cookie: ")
            && warning.contains("__Host-"),
        "{warning}"
    );
    assert_eq!(auth(&config(SMALL, &[])).secure_cookie, None);
    for said in ["true", "false"] {
        let loaded = load_text(SMALL, &[("LOCKGATE__AUTH__SECURE_COOKIE", said)]).expect("loads");
        let secure = auth(&loaded.config).secure_cookie;
        assert_eq!(secure.map(|it| it.to_string()).as_deref(), Some(said));
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

#[test]
fn media_that_a_shared_cache_may_keep_is_warned_about() {
    for (cache_control, warned) in [
        ("public, max-age=99", true),
        ("max-age=99", true),
        ("no-cache", true),
        ("private=x-user", true),
        ("", true),
        ("private, no-cache", false),
        ("max-age=99, Private", false),
        ("no-store", false),
    ] {
        let key = format!("[delivery]\ncache_control = \"{cache_control}\"");
        let warnings = warnings(&SMALL.replace("[delivery]", &key), &[]);
        let place = "etc/lockgate.toml:11: delivery.cache_control: ";
        let found = warnings.iter().any(|warning| warning.starts_with(place));
        assert_eq!(found, warned, "{cache_control}: {warnings:?}");
    }
}

#[test]
fn label_studios_document_root_beside_a_local_storage_is_warned_about() {
    const ROOT: &str = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT";
    let local = format!("{SMALL}[[storage]]\nid = \"l\"\nkind = \"local\"\nroot = \"media\"\n");
    let enabled = ("LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED", "true");
    for (text, variables, warned) in [
        (&*local, &[(ROOT, "files"), enabled][..], true),
        (&local, &[(ROOT, "files")], false),
        (SMALL, &[(ROOT, "files"), enabled], false),
    ] {
        let warnings = warnings(text, variables);
        let found = warnings.iter().any(|warning| warning.starts_with(ROOT));
        assert_eq!(found, warned, "{warnings:?}");
    }
}

#[test]
fn a_database_that_anybody_could_answer_for_and_a_plain_password_are_warned_about() {
    const URL: &str = "access.postgres.url";
    for (url, weak, plain) in [
        ("postgres://u@db/d", true, false),
        ("postgres://u:p@db/d?sslmode=verify-full", false, true),
        ("postgres://u:p@127.0.0.1/d", false, true),
        ("postgres:///d?host=/run/postgresql&user=u", false, false),
    ] {
        let source = format!("[access]\nsource = \"postgres\"\npostgres = {{ url = \"{url}\" }}");
        let warnings = warnings(&SMALL.replace("[access]", &source), &[]);
        let said = |what: &str| {
            let mut warnings = warnings.iter();
            warnings.any(|it| it.contains(URL) && it.contains(what))
        };
        assert_eq!(said("verify-full"), weak, "{warnings:?}");
        assert_eq!(said("plain text"), plain, "{warnings:?}");
        assert!(
            !warnings.iter().any(|it| it.contains("u:p")),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_databases_url_and_password_come_by_reference_as_other_secrets_do() {
    let source = "[access]\nsource = \"postgres\"\nmax_age = \"1h\"\n\
                  postgres = { url = { env = \"URL\" }, password = { env = \"PASSWORD\" }, connections = 3 }";
    let text = SMALL
        .replace("[access]", source)
        .replace("file = \"projects.toml\"", "");
    let variables = [
        ("URL", "postgres://u@db,db2/d?sslmode=verify-full"),
        ("PASSWORD", "hidden"),
    ];
    let loaded = load_text(&text, &variables).expect("it loads");
    let database = loaded.config.access.postgres().expect("the source");
    assert_eq!(database.server.get_password(), Some(&b"hidden"[..]));
    assert_eq!(
        (database.server.get_hosts().len(), database.connections),
        (2, 3)
    );
    assert!(!format!("{:?}", loaded.config.access).contains("hidden"));
    assert!(
        !loaded.warnings.iter().any(|it| it.contains("access.")),
        "{:?}",
        loaded.warnings
    );
}
