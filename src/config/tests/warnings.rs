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
