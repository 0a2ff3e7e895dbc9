//! `lockgate warm`: reads a project's media into the cache of a running Lockgate, ahead of the annotators.
//!
//! The cache is in the serving process, so `warm` is a client of its media route, with a token of somebody who may
//! see the media: every check holds, and the audit log names who it was. Never reads media from storage itself, and
//! keeps no byte of it.

mod fetch;
mod pace;
mod progress;
mod run;
mod state;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::HeaderValue;
use url::Url;

use super::CliError;
use super::token::{MintError, TokenScope, mint};
use crate::auth::AuthConfig;
use crate::authority::AccessSource;
use crate::authority::file::FileAuthority;
use crate::authority::postgres::PostgresConfig;
use crate::authority::postgres::admin::Session;
use crate::authority::postgres::admin::media::{self, Named};
use crate::config::{Config, Loaded};
use crate::ids::{ProjectId, StorageId};
use crate::media_uri::MediaUri;
use crate::project::{Delivery, MediaRule};
use crate::secret::Secret;

use fetch::Gateway;
use progress::Progress;
use run::Warming;
use state::{Scope, State};

/// What is minted is good for as long: a body may flow to its end with it.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// And is minted anew after this.
const TOKEN_AGE: Duration = Duration::from_secs(600);

/// The arguments of `lockgate warm`.
#[derive(Debug, clap::Args)]
pub struct WarmArgs {
    /// The project whose media is read: what its tasks name, or with media = "storage" all that its storages hold.
    #[arg(long, value_name = "ID")]
    project: String,
    /// The running Lockgate; without it, where the configuration says that it listens.
    #[arg(long)]
    url: Option<Url>,
    /// The token of somebody who may see the media; - reads it from standard input, which keeps it out of the shell's history.
    #[arg(long, env = "LOCKGATE_TOKEN", hide_env_values = true, value_parser = super::secret)]
    token: Option<Secret>,
    /// Instead of a token: a member of the project, for whom tokens are minted with the configuration's key.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// A group of that member's; may be given several times.
    #[arg(long = "group", value_name = "NAME", requires = "subject")]
    groups: Vec<String>,
    /// Read what the tasks in this file name (Label Studio's JSON or JSONL), whatever the access source says; needed
    /// where that is Label Studio.
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// Note here what was read: another run with the same file reads the rest, and what has changed since; not what the
    /// cache has lost, so begin another file when Lockgate was restarted without cache.disk.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// How many objects to read at once, up to 64.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
    /// Trust these certificate authorities as well (PEM), where the URL is https.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print JSON about the run instead of lines.
    #[arg(long)]
    json: bool,
}

impl WarmArgs {
    /// A subject that is asked for outweighs a token of the environment.
    fn token(&self) -> Option<&Secret> {
        self.token.as_ref().filter(|_| self.subject.is_none())
    }

    /// Whether nothing of a configuration is needed.
    fn stands_alone(&self) -> bool {
        self.url.is_some() && self.token().is_some() && self.tasks.is_some()
    }
}

/// Warms; exits with 0 where all was read or was as before, and with 1 where anything was not.
///
/// # Errors
/// The configuration's, the access list's and the task file's mistakes, arguments that do not fit, and what storage
/// says to being listed.
pub async fn run(config: &Path, args: &WarmArgs) -> Result<ExitCode, CliError> {
    let loaded = match args.stands_alone() {
        true => None,
        false => Some(super::load(config)?),
    };
    let config = loaded.as_ref().map(|Loaded { config, .. }| config);
    let url = url(config, args)?;
    let credential = Credential::of(config, args)?;
    let Media { objects, uris } = media(config, args).await?;
    let scope = Scope {
        project: args.project.clone(),
        url: url.to_string(),
    };
    let open = |path: &PathBuf| {
        let unusable = |error| CliError::Usage(format!("--state {}: {error}", path.display()));
        State::open(path, &scope).map_err(unusable)
    };
    let state = args.state.as_ref().map(open).transpose()?;
    let project = ProjectId::new(args.project.as_str());
    let gateway = Gateway::new(&url, &project, args.ca_file.as_deref());
    let gateway = gateway.map_err(|error| CliError::Usage(format!("--ca-file: {error}")))?;
    let progress = Progress::of(objects);
    progress.line(&format!(
        "warming {objects} objects of project {} at {url}",
        super::printable(&args.project)
    ));
    let warming = Warming::new(&gateway, &credential, &progress, state);
    let concurrency = usize::from(args.concurrency);
    let report = warming.run(objects, uris, concurrency).await;
    progress.end();
    if args.json {
        super::print_json(&report);
    } else {
        super::print(&report.to_string());
    }
    Ok(match report.is_whole() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Where Lockgate is. Over TLS its name has to be said: a certificate names no loopback address.
fn url(config: Option<&Config>, args: &WarmArgs) -> Result<Url, CliError> {
    let usage = |text: &str| CliError::Usage(text.to_owned());
    if let Some(url) = &args.url {
        let fits = matches!(url.scheme(), "http" | "https") && url.query().is_none();
        return match fits && url.username().is_empty() && url.password().is_none() {
            true => Ok(url.clone()),
            false => Err(usage(
                "--url must be http or https, with no user and no query",
            )),
        };
    }
    let server = config.map(|config| &config.server);
    let server = server.ok_or_else(|| usage("--url is needed"))?;
    if server.tls.is_some() || server.listen.port() == 0 {
        return Err(usage(
            "--url is needed: where Lockgate is cannot be told from server.listen",
        ));
    }
    let mut listen = server.listen;
    // What listens on all addresses is found on loopback.
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            listen.set_ip(std::net::Ipv6Addr::LOCALHOST.into())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let url = format!("http://{listen}").parse();
    url.map_err(|_| usage("--url is needed"))
}

/// What is to be read, each once, and how many that is.
struct Media {
    objects: u64,
    uris: BoxStream<'static, Result<String, CliError>>,
}

impl From<Vec<MediaUri>> for Media {
    fn from(uris: Vec<MediaUri>) -> Self {
        let objects = uris.len() as u64;
        let uris = uris.into_iter().map(|uri| Ok(uri.to_string()));
        Self {
            objects,
            uris: stream::iter(uris).boxed(),
        }
    }
}

async fn media(config: Option<&Config>, args: &WarmArgs) -> Result<Media, CliError> {
    if let Some(file) = &args.tasks {
        let named = crate::authority::media_of(file).map_err(crate::located::Problems::from)?;
        return Ok(named.into());
    }
    let no_list = || {
        let what = "--tasks is needed: Label Studio is not asked for all that a project has";
        CliError::Usage(what.to_owned())
    };
    let config = config.ok_or_else(no_list)?;
    match &config.access.source {
        AccessSource::File(list) => listed(config, list, &args.project).await,
        AccessSource::Postgres(database) => in_tables(config, database, &args.project).await,
        AccessSource::LabelStudio(_) => Err(no_list()),
    }
}

async fn listed(config: &Config, list: &Path, project: &str) -> Result<Media, CliError> {
    let list = FileAuthority::open(list.to_owned(), config.access.media)?;
    let (project, named) = list
        .media(&ProjectId::new(project))
        .ok_or_else(|| no_project("the access list", project))?;
    match project.media {
        MediaRule::Task => Ok(named.into()),
        MediaRule::Storage => Ok(held(config, &project.storages).await?.into()),
    }
}

async fn in_tables(
    config: &Config,
    database: &PostgresConfig,
    project: &str,
) -> Result<Media, CliError> {
    let mut session = Session::open(database).await?;
    let rule = media::rule(&mut session, project, config.access.media).await?;
    let (rule, storages) = rule.ok_or_else(|| no_project("PostgreSQL", project))?;
    if rule == MediaRule::Storage {
        return Ok(held(config, &storages).await?.into());
    }
    let named = Named::of(session, project).await?;
    Ok(Media {
        objects: named.objects(),
        uris: named.uris().map_err(CliError::from).boxed(),
    })
}

fn no_project(source: &str, project: &str) -> CliError {
    CliError::Usage(format!("{source} has no project {project:?}"))
}

/// All that a project's storages hold, but for those that hand out URLs.
async fn held(config: &Config, storages: &[StorageId]) -> Result<Vec<MediaUri>, CliError> {
    let mut media = vec![];
    for id in storages {
        let storage = super::storage(config, id.as_str())?;
        if storage.delivery == Delivery::Proxy {
            super::ls::list(config, storage, usize::MAX, |uri, _| {
                media.push(uri.clone())
            })
            .await?;
        }
    }
    let mut seen = std::collections::HashSet::new();
    media.retain(|uri| seen.insert(uri.clone()));
    Ok(media)
}

/// By whose right media is read.
enum Credential {
    Given(HeaderValue),
    /// For a member, with the configuration's key, anew before it ends.
    Minted {
        auth: Box<AuthConfig>,
        subject: String,
        groups: Vec<String>,
        current: Mutex<Option<(HeaderValue, Instant)>>,
    },
}

impl Credential {
    fn of(config: Option<&Config>, args: &WarmArgs) -> Result<Self, CliError> {
        if let Some(token) = args.token() {
            let token = super::from_stdin(token)?;
            let authorization = authorization(token.expose());
            return Ok(Self::Given(authorization.map_err(|_| {
                CliError::Usage("the token is none that a header can hold".into())
            })?));
        }
        let usage = |text: &str| CliError::Usage(text.to_owned());
        let subject = args.subject.clone().ok_or_else(|| {
            usage("--token (or LOCKGATE_TOKEN) or --subject is needed: somebody who may see the media")
        })?;
        let auth = config.and_then(|config| config.auth.clone());
        let auth =
            auth.ok_or_else(|| usage("--token is needed: there is no [auth] to mint for"))?;
        let minted = Self::Minted {
            auth: Box::new(auth),
            subject,
            groups: args.groups.clone(),
            current: Mutex::default(),
        };
        // Whether there is a key is told before anything else is done.
        minted.authorization()?;
        Ok(minted)
    }

    /// The field to send.
    fn authorization(&self) -> Result<HeaderValue, MintError> {
        let (auth, subject, groups, current) = match self {
            Self::Given(field) => return Ok(field.clone()),
            Self::Minted {
                auth,
                subject,
                groups,
                current,
            } => (auth, subject, groups, current),
        };
        let mut current = current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((field, minted_at)) = &*current
            && minted_at.elapsed() < TOKEN_AGE
        {
            return Ok(field.clone());
        }
        let scope = TokenScope::default();
        let token = mint(auth, subject, groups, TOKEN_LIFE, scope, SystemTime::now())?;
        let field = authorization(&token).map_err(|_| MintError::NoKey)?;
        *current = Some((field.clone(), Instant::now()));
        Ok(field)
    }
}

/// A token with its scheme, where it has none of its own: Label Studio's older ones are sent as `Token …`.
fn authorization(token: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut field = match token.contains(' ') {
        true => HeaderValue::from_str(token),
        false => HeaderValue::from_str(&format!("Bearer {token}")),
    }?;
    field.set_sensitive(true);
    Ok(field)
}
