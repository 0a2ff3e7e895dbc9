//! `access.source = "label-studio"`: how little it needs, and what does not go with it.

use super::*;
use crate::authority::{AccessSource, LabelStudioConfig};

fn loads(text: &str, more: &[(&str, &str)]) -> Loaded {
    load_text(text, more).expect("it loads")
}

fn label_studio(config: &Config) -> &LabelStudioConfig {
    config.access.label_studio().expect("it is the source")
}

const URL: &str = "http://127.0.0.1:8081/";

#[test]
fn two_variables_are_a_whole_configuration() {
    let source = Source {
        environment: vec![
            ("LOCKGATE__ACCESS__SOURCE".into(), "label-studio".into()),
            ("LOCKGATE__ACCESS__LABEL_STUDIO__URL".into(), URL.into()),
        ],
        ..Source::default()
    };
    let Loaded {
        config, warnings, ..
    } = source.load().expect("it loads");
    assert_eq!(label_studio(&config).url.as_str(), URL);
    assert_eq!(config.server.upstream, URL.parse().ok());
    assert_eq!(config.auth, None);
    assert!(config.storages.is_empty());
    assert_eq!(config.access.max_age, Duration::from_secs(5));
    assert_eq!(config.access.media, crate::project::MediaRule::Task);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn its_url_and_the_upstream_are_each_others_default() {
    let only = |section: &str| format!("[access]\nsource = 'label-studio'\n{section}");
    for (text, url, upstream) in [
        (
            only("label_studio = { url = 'http://a' }"),
            "http://a/",
            "http://a/",
        ),
        (
            only("label-studio = { url = 'http://a' }"),
            "http://a/",
            "http://a/",
        ),
        (
            only("[server]\nupstream = 'http://b'"),
            "http://b/",
            "http://b/",
        ),
        (
            only("label_studio.url = 'http://a'\n[server]\nupstream = 'http://b'"),
            "http://a/",
            "http://b/",
        ),
    ] {
        let config = loads(&text, &[]).config;
        assert_eq!(label_studio(&config).url.as_str(), url, "{text}");
        assert_eq!(config.server.upstream, upstream.parse().ok(), "{text}");
    }
}

#[test]
fn a_variable_goes_over_the_file_whichever_way_the_section_is_spelled() {
    for spelled in ["label_studio", "label-studio"] {
        let text = format!("[access]\nsource = 'label-studio'\n{spelled}.url = 'http://a'");
        let variable = ("LOCKGATE__ACCESS__LABEL_STUDIO__URL", "http://over");
        let config = loads(&text, &[variable]).config;
        assert_eq!(label_studio(&config).url.as_str(), "http://over/");
    }
}

#[test]
fn what_is_of_no_use_with_it_is_warned_about() {
    let text = SMALL.replace(
        "[access]",
        "[access]\nsource = 'label-studio'\nlabel_studio.url = 'http://a'",
    );
    let loaded = loads(&text, &[]);
    assert!(matches!(
        loaded.config.access.source,
        AccessSource::LabelStudio(_)
    ));
    assert_eq!(loaded.config.auth, None);
    for (place, word) in [
        ("etc/lockgate.toml:11: access.file: ", "not used"),
        ("auth: ", "Label Studio judges"),
    ] {
        let said = |warning: &&String| warning.contains(place) && warning.contains(word);
        assert!(
            loaded.warnings.iter().any(|warning| said(&warning)),
            "{place}: {:?}",
            loaded.warnings
        );
    }
}

#[test]
fn what_cannot_go_with_it_is_refused_by_its_key() {
    let storage = |id: &str| format!("[[storage]]\nid = '{id}'\nkind = 'local'\nroot = 'media'");
    for (url, more, key) in [
        ("http://a/base", String::new(), "access.label_studio.url"),
        ("ftp://a", String::new(), "access.label_studio.url"),
        ("http://u:p@a", String::new(), "access.label_studio.url"),
        (
            "http://a",
            "[delivery]\nallow_proxy = false".into(),
            "delivery.allow_proxy",
        ),
        ("http://a", storage("application"), "storage[0].id"),
        ("http://a", storage("label-studio"), "storage[0].id"),
        (
            "http://a",
            "[access.label_studio]\nca_file = 'no.pem'".into(),
            "access.label_studio.ca_file",
        ),
        (
            "http://a",
            "[access.label_studio]\nurn = 'a'".into(),
            "access.label_studio.urn",
        ),
    ] {
        let text = format!("[access]\nsource = 'label-studio'\nlabel-studio.url = '{url}'\n{more}");
        let problems = load_text(&text, &[]).expect_err(key);
        let keys: Vec<_> = problems.0.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, [key], "{problems}");
        assert!(!problems.to_string().contains("u:p"), "{problems}");
    }
}

#[test]
fn label_studios_own_variables_are_aliases_there_too() {
    let text = "[access]\nsource = 'label-studio'\nlabel_studio.url = 'http://a'";
    let variables = [
        ("RESOLVER_PROXY_MAX_RANGE_SIZE", "8388608"),
        ("LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED", "true"),
        ("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", "media"),
    ];
    let config = loads(text, &variables).config;
    assert_eq!(config.delivery.max_range_size, Some(8 << 20));
    let ids: Vec<_> = config.storages.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["local-files"]);
}
