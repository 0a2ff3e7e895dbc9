//! The arguments, as a shell gives them, and what all verbs share.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in Cli::command().get_subcommands_mut() {
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Example:\n"), "{help}");
    }
}

#[test]
fn arguments_are_understood_or_are_a_mistake_in_usage() {
    let parses = |arguments: &str| Cli::try_parse_from(arguments.split(' ')).is_ok();
    for good in [
        "lockgate serve",
        "lockgate serve --config a.toml --listen 127.0.0.1:0",
        "lockgate --config a.toml check",
        "lockgate check --storage a --uri s3://b/k --json",
        "lockgate explain --token - --task 7 --uri s3://b/k",
        "lockgate explain --token t --project 1 --uri czM6Ly9iL2s= --json",
        "lockgate setup --storage a --list --json",
        "lockgate ls --storage a --limit 3",
        "lockgate ls --storage a --tasks --field audio",
        "lockgate completions bash",
        "lockgate man --out d",
        "lockgate warm --project 1 --subject a --group b --state f --concurrency 64 --json",
        "lockgate warm --project 1 --url http://a --token t --tasks f --ca-file f",
        "lockgate token --subject a --group b --group c --expires 5m --task 7",
    ] {
        assert!(parses(good), "{good}");
    }
    for bad in [
        "lockgate",
        "lockgate nonsense",
        "lockgate check --uri nonsense",
        "lockgate setup",
        "lockgate ls --storage a --limit 0",
        "lockgate ls --storage a --tasks --json",
        "lockgate ls --storage a --field audio",
        "lockgate explain --token t --task 7 --project 1 --uri s3://b/k",
        "lockgate explain --token t --task 7",
        "lockgate completions",
        "lockgate completions sh",
        "lockgate warm --subject a",
        "lockgate warm --project 1 --group a",
        "lockgate warm --project 1 --subject a --concurrency 65",
        "lockgate warm --project 1 --url nonsense --subject a",
        "lockgate token",
        "lockgate token --subject a --expires 5",
    ] {
        assert!(!parses(bad), "{bad}");
    }
}

#[test]
fn a_token_in_the_arguments_shows_in_no_debug_line() {
    let arguments = "lockgate explain --token sesame --task 7 --uri s3://b/k";
    let cli = Cli::try_parse_from(arguments.split(' ')).unwrap();
    assert!(!format!("{cli:?}").contains("sesame"));
}

#[test]
fn a_cause_is_said_once() {
    let problem = crate::located::Located::file("a.toml", "cannot be read");
    let error = CliError::from(Problems::from(problem));
    assert_eq!(with_causes(&error), "a.toml: cannot be read");
    let error = CliError::Stdin(std::io::Error::other("closed"));
    assert!(with_causes(&error).ends_with("standard input: closed"));
}

#[test]
fn a_length_of_time_is_said_in_its_largest_unit() {
    for (seconds, words) in [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_200, "2 h"),
        (172_800, "2 days"),
    ] {
        assert_eq!(in_words(Duration::from_secs(seconds)), words);
    }
}

#[test]
fn arguments_are_variables_over_the_file() {
    let read = |arguments: &str| {
        let cli = Cli::try_parse_from(format!("lockgate serve {arguments}").split(' ')).unwrap();
        let Verb::Serve(args) = cli.verb else {
            panic!("it is serve");
        };
        let source = args.source(cli.config);
        let own = source.environment.len() - environment().count();
        let mut said = source.environment;
        said.drain(..said.len() - own);
        (source.file, said)
    };
    let variables = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let named = |(key, value): &(&str, &str)| (format!("LOCKGATE__{key}"), (*value).to_owned());
        pairs.iter().map(named).collect()
    };
    let label_studio = [
        ("ACCESS__SOURCE", "label-studio"),
        ("ACCESS__LABEL_STUDIO__URL", "http://a"),
    ];
    for (arguments, file, said) in [
        (
            "--listen 127.0.0.1:7",
            Some(CONFIG),
            &[("SERVER__LISTEN", "127.0.0.1:7")][..],
        ),
        (
            "--config a.toml --admin-listen off",
            Some("a.toml"),
            &[("SERVER__ADMIN_LISTEN", "off")],
        ),
        // A whole configuration: a file in the working directory has no say in it.
        ("--label-studio http://a", None, &label_studio),
        (
            "--label-studio http://a --config a.toml",
            Some("a.toml"),
            &label_studio,
        ),
    ] {
        let expected = (file.map(PathBuf::from), variables(said));
        assert_eq!(read(arguments), expected, "{arguments}");
    }
}

#[test]
fn label_studio_alone_is_a_whole_configuration() {
    let args = ServeArgs {
        listen: None,
        admin_listen: None,
        label_studio: Some("http://127.0.0.1:8081".to_owned()),
    };
    let loaded = args.source(None).read().unwrap();
    assert!(loaded.config.access.label_studio().is_some());
}
