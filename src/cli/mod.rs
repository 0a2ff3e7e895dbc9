//! The command line: one file a verb, arguments in, exit code out (0 well, 1 failure, 2 usage).
//!
//! Errors go to standard error in plain words, one a line; what a verb is asked for goes to standard output. No token
//! and no secret is ever printed, but for the one that `token` mints.

pub mod check;
pub mod db;
pub mod demo;
pub mod explain;
pub mod health;
pub mod ls;
pub mod people;
pub mod reference;
pub mod serve;
pub mod setup;
pub mod token;
pub mod warm;

use std::error::Error;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app::systemd::Inherited;
use crate::app::{Source, StartError};
use crate::auth::AuthConfigError;
use crate::authority::AuthorityError;
use crate::authority::postgres::PostgresError;
use crate::authority::postgres::admin::{ExportError, ImportError};
use crate::backend::BackendError;
use crate::config::{self, Config, Loaded};
use crate::ids::StorageId;
use crate::located::Problems;
use crate::media_uri::MediaUri;
use crate::secret::Secret;

use token::MintError;

/// The configuration where none is named.
const CONFIG: &str = "lockgate.toml";
/// What a shell expects of a command that was called wrongly.
const USAGE: u8 = 2;

/// The streaming media gateway for data annotation.
#[derive(Debug, Parser)]
#[command(
    name = "lockgate",
    version,
    subcommand_required = true,
    after_help = "Example:\n  lockgate demo\n\nStarts with sample media, and prints a page to open and how to go on."
)]
pub struct Cli {
    /// The configuration file; a variable LOCKGATE__SECTION__KEY in the environment outweighs its key.
    /// [default: lockgate.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve annotators until SIGTERM; SIGHUP or a changed file reloads.
    #[command(
        after_help = "Example:\n  lockgate serve --config /etc/lockgate/lockgate.toml\n\nIn front of a Label Studio, with nothing else to configure:\n  lockgate serve --label-studio http://127.0.0.1:8081 --listen 0.0.0.0:8080\n\nNo file is read then, unless --config names one; variables LOCKGATE__SECTION__KEY are."
    )]
    Serve(ServeArgs),
    /// Try Lockgate with nothing to configure: sample media, two annotators, a page to open.
    #[command(after_help = "Example:\n  lockgate demo --listen 127.0.0.1:8080")]
    Demo(DemoArgs),
    /// Check the configuration and each storage step by step; each failure says what to change.
    #[command(
        after_help = "Example:\n  lockgate check --storage recordings --uri s3://acme-recordings/clips/a.mp4\n\nExits with 0 where all is well and 1 where any step failed."
    )]
    Check(check::CheckArgs),
    /// Tell which rule allows or denies media to an annotator, and which storage serves it.
    #[command(
        after_help = "Example:\n  lockgate explain --token - --task 7 --uri s3://acme-recordings/clips/a.mp4 < token.txt\n\nExits with 0 where the media is allowed and 1 where it is denied."
    )]
    Explain(explain::ExplainArgs),
    /// Mint a token for development from the configured HMAC secret or private key.
    #[command(
        after_help = "Example:\n  curl -H \"Authorization: Bearer $(lockgate token --subject anna@example.com)\" \\\n    'http://127.0.0.1:8080/tasks/7/resolve/?fileuri=s3://acme-recordings/clips/a.mp4'"
    )]
    Token(token::TokenArgs),
    /// Print what to grant for a storage: policies, trust, CORS; the least that its delivery needs.
    #[command(
        after_help = "Example:\n  lockgate setup --storage recordings --principal arn:aws:iam::111122223333:role/Lockgate\n\nAsks nobody and changes nothing: what is printed is to be pasted or run by whoever owns the storage."
    )]
    Setup(setup::SetupArgs),
    /// Preview what a storage holds within its prefix and pattern, or print it as Label Studio tasks.
    #[command(
        after_help = "Example:\n  lockgate ls --storage recordings --limit 20\n  lockgate ls --storage recordings --tasks --field audio | jq -s . > tasks.json\n\nListing needs a permission of its own (S3: s3:ListBucket) that serving does not."
    )]
    Ls(ls::LsArgs),
    /// Ask a running Lockgate on this machine whether traffic may come: a health check for containers without curl.
    #[command(
        after_help = "Example:\n  lockgate health --config /etc/lockgate/lockgate.toml\n\nExits with 0 where /readyz answers 200 and 1 where it does not, or nobody answers."
    )]
    Health(health::HealthArgs),
    /// Make and fill the tables of access.source = "postgres".
    #[command(
        after_help = "Example:\n  lockgate db migrate\n  lockgate db import projects.toml\n\nA database that is not the configuration's: --database, or LOCKGATE_ADMIN_DATABASE_URL."
    )]
    Db(db::DbArgs),
    /// Let annotators or groups into a project, or assign annotators to a task (access.source = "postgres").
    #[command(
        after_help = "Example:\n  lockgate grant anna@example.com bo@example.com --project 42\n  lockgate grant labelers-eu --group --project 42\n  lockgate grant bo@example.com --task 7\n\nIn force on every replica within a second."
    )]
    Grant(people::GrantArgs),
    /// Take annotators or groups out of a project, or annotators off a task (access.source = "postgres").
    #[command(
        after_help = "Example:\n  lockgate revoke bo@example.com --project 42\n\nIn force on every replica within a second; a body that is under way is cut."
    )]
    Revoke(people::RevokeArgs),
    /// List who belongs to a project (access.source = "postgres").
    #[command(after_help = "Example:\n  lockgate members --project 42")]
    Members(people::MembersArgs),
    /// Read a project's media into the cache of a running Lockgate, ahead of the annotators.
    #[command(
        after_help = "Example:\n  lockgate warm --project 42 --subject anna@example.com --state warm-42.state\n\nThe media passes through Lockgate's own route, so whoever it is read for must be allowed to see it: media of tasks\nthat are assigned to others is not. What is more than the cache holds pushes out what was read first. Interrupted, it\ngoes on where it was when it is run again with the same --state.\n\nExits with 0 where all was read, and with 1 where anything was not: each such object is listed with its reason."
    )]
    Warm(warm::WarmArgs),
    /// Print the script by which a shell completes verbs and options.
    #[command(
        after_help = "Example:\n  lockgate completions bash > /etc/bash_completion.d/lockgate\n  lockgate completions zsh > \"${fpath[1]}/_lockgate\"\n  lockgate completions fish > ~/.config/fish/completions/lockgate.fish"
    )]
    Completions(reference::CompletionsArgs),
    /// Print the man page, or write one for every verb into a directory.
    #[command(
        after_help = "Example:\n  lockgate man --out /usr/local/share/man/man1\n  lockgate man > lockgate.1"
    )]
    Man(reference::ManArgs),
}

/// The arguments of `lockgate serve`.
#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// Where to listen, instead of server.listen in the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to serve health and metrics, instead of server.admin_listen; "off" serves them nowhere.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// Serve in front of the Label Studio at this URL: it says who may see what, and answers all that is not media.
    #[arg(long, value_name = "URL")]
    label_studio: Option<String>,
}

impl ServeArgs {
    /// The configuration as it is read at start and at each reload: each argument is one more variable over it.
    /// `--label-studio` is a whole one, with no file but one that is named.
    fn source(&self, file: Option<PathBuf>) -> Source {
        let listen = self.listen.map(|listen| listen.to_string());
        let source = self
            .label_studio
            .as_ref()
            .map(|_| "label-studio".to_owned());
        let arguments = [
            ("SERVER__LISTEN", listen),
            ("SERVER__ADMIN_LISTEN", self.admin_listen.clone()),
            ("ACCESS__SOURCE", source),
            ("ACCESS__LABEL_STUDIO__URL", self.label_studio.clone()),
        ];
        let arguments = arguments
            .into_iter()
            .filter_map(|(key, value)| Some((format!("LOCKGATE__{key}"), value?)));
        Source {
            file: match self.label_studio {
                Some(_) => file,
                None => file.or_else(|| Some(CONFIG.into())),
            },
            environment: environment().chain(arguments).collect(),
        }
    }
}

/// The arguments of `lockgate demo`.
#[derive(Debug, clap::Args)]
struct DemoArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// Why a verb could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration or the access list has mistakes.
    #[error(transparent)]
    Configuration(#[from] Problems),
    /// The arguments do not fit the configuration, or one another.
    #[error("{0}")]
    Usage(String),
    /// The keys cannot be used.
    #[error("auth.jwt.{}: {}", .0.key(), .0)]
    Auth(AuthConfigError),
    /// The access source gave no answer.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The database did not do what was asked; and what to change.
    #[error("{}", with_advice(.0))]
    Database(#[from] PostgresError),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Stdout(#[source] std::io::Error),
    /// No token was minted.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// Something that a start needs is not there.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A storage did not give what was asked of it.
    #[error("storage {storage}: {error}; {advice}")]
    Storage {
        /// Its id.
        storage: StorageId,
        /// What it said.
        error: BackendError,
        /// What to change.
        advice: String,
    },
    /// What was asked for cannot be written.
    #[error("cannot write to {path}: {error}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Standard input was to hold the token, and cannot be read.
    #[error("cannot read the token from standard input")]
    Stdin(#[source] std::io::Error),
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::List(problems) => Self::Configuration(problems),
            ImportError::Postgres(error) => Self::Database(error),
        }
    }
}

impl From<ExportError> for CliError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Postgres(error) => Self::Database(error),
            ExportError::Write(error) => Self::Stdout(error),
        }
    }
}

fn with_advice(error: &PostgresError) -> String {
    match error.advice() {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

/// Runs the verb that `arguments` name (the first is the program's own name) to its end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        // Help and version come this way as well, and are no failure.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    // Before there are threads: it changes the environment.
    let inherited = match &cli.verb {
        Verb::Serve(_) => Inherited::from_environment().map_err(StartError::Inherited),
        _ => Ok(Inherited::default()),
    };
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => return fail(&error),
    };
    if let Verb::Serve(args) = &cli.verb
        && let Err(error) = serve::prepare(&args.source(cli.config.clone()))
    {
        return fail(&error);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(run(cli, inherited));
    // A name that is still being looked up would hold up the end.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli, inherited: Inherited) -> ExitCode {
    let config = cli.config.clone().unwrap_or_else(|| CONFIG.into());
    let done = match cli.verb {
        Verb::Serve(args) => return serve::run(args.source(cli.config), inherited).await,
        Verb::Demo(args) => return demo::run::run(args.listen).await,
        Verb::Check(args) => check::run(&config, &args).await,
        Verb::Explain(args) => explain::run(&config, &args).await,
        Verb::Token(args) => token::run(&config, &args),
        Verb::Setup(args) => setup::run(&config, &args),
        Verb::Ls(args) => ls::run(&config, &args).await,
        Verb::Health(args) => health::run(&config, &args).await,
        Verb::Db(args) => db::run(&config, &args).await,
        Verb::Grant(args) => people::grant(&config, &args).await,
        Verb::Revoke(args) => people::revoke(&config, &args).await,
        Verb::Members(args) => people::members(&config, &args).await,
        Verb::Warm(args) => warm::run(&config, &args).await,
        Verb::Completions(args) => Ok(reference::completions(&args)),
        Verb::Man(args) => reference::man(&args),
    };
    done.unwrap_or_else(|error| {
        let code = fail(&error);
        if let CliError::Usage(_) | CliError::Mint(MintError::Name(_) | MintError::Uri(_)) = error {
            return ExitCode::from(USAGE);
        }
        code
    })
}

/// Says what went wrong: each located mistake stands on a line of its own.
pub(crate) fn fail(error: &dyn Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", with_causes(error));
    ExitCode::FAILURE
}

/// An error and what lies below it, but for what it says already.
fn with_causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

/// Loads the configuration with the environment over it.
fn load(file: &Path) -> Result<Loaded, Problems> {
    config::load(file, environment())
}

/// The environment; a variable that is not UTF-8 is none of ours, and must not end the process.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Writes to standard output; a reader that left (`| head`) is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A value as a script wants it.
fn print_json(value: &impl serde::Serialize) {
    // Only maps with keys that are no strings fail, and none of ours has such.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    print(&format!("{text}\n"));
}

/// A URI as an argument: as it is, or as the `fileuri` parameter has it.
fn media_uri(text: &str) -> Result<MediaUri, String> {
    let parsed = MediaUri::parse(text).or_else(|error| {
        // What begins like a URI is one that is wrong, and the first error says how.
        MediaUri::from_fileuri(text).map_err(|_| error)
    });
    parsed.map_err(|error| error.to_string())
}

/// A secret as an argument.
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// A token as it was given, or from standard input where that was `-`.
fn from_stdin(token: &Secret) -> Result<Secret, CliError> {
    if token.expose() != "-" {
        return Ok(token.clone());
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock();
    input.read_to_string(&mut text).map_err(CliError::Stdin)?;
    Ok(Secret::new(text.trim()))
}

/// A length of time for people: the largest unit that leaves at least one.
fn in_words(length: Duration) -> String {
    let seconds = length.as_secs();
    let (number, unit) = match seconds {
        0..=119 => (seconds, "s"),
        120..=7_199 => (seconds / 60, "min"),
        7_200..=172_799 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit}")
}

/// Text of others for a line on a terminal: keys and names may hold control characters, and none may steer it.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// What the configuration calls a storage's kind.
fn kind(config: &config::StorageConfig) -> &'static str {
    use crate::backend::config::BackendConfig;
    match &config.backend {
        BackendConfig::S3(_) => "s3",
        BackendConfig::Local(_) => "local",
        BackendConfig::Azure(_) => "azure",
        BackendConfig::Gcs(_) => "gcs",
        BackendConfig::Databricks(_) => "databricks",
        BackendConfig::Redis(_) => "redis",
    }
}

/// The storage with this id.
fn storage<'a>(config: &'a Config, id: &str) -> Result<&'a config::StorageConfig, CliError> {
    let mut storages = config.storages.iter();
    let found = storages.find(|storage| storage.id.as_str() == id);
    found.ok_or_else(|| {
        let configured = storage_ids(config);
        CliError::Usage(format!(
            "no storage has the id {id:?}; configured: {configured}"
        ))
    })
}

/// The ids of the configured storages, for a message.
fn storage_ids(config: &Config) -> String {
    let ids: Vec<_> = config
        .storages
        .iter()
        .map(|storage| storage.id.as_str())
        .collect();
    ids.join(", ")
}

#[cfg(test)]
mod tests;
