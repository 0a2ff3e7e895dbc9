//! `lockgate explain`: which rule allows or denies media to an annotator, and which storage serves it.
//!
//! Decides nothing itself: the verdict is `access::authorize`'s and `resolve`'s, as a request would have it. Asks no
//! storage, and never prints the token.

mod explanation;
mod rules;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use super::CliError;
use crate::app::{self, StartError};
use crate::auth::{Annotator, AuthError, Authenticator, Credentials};
use crate::authority::file::FileAuthority;
use crate::authority::postgres::PostgresAuthority;
use crate::authority::{AccessSource, Authority, Target};
use crate::ids::{ProjectId, TaskId};
use crate::media_uri::MediaUri;
use crate::secret::Secret;

use explanation::Explanation;
use rules::Question;

/// The arguments of `lockgate explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The annotator's token; - reads it from standard input, which keeps it out of the shell's history.
    #[arg(long, env = "LOCKGATE_TOKEN", hide_env_values = true, value_parser = super::secret)]
    token: Secret,
    /// The task whose media is asked for.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// The project whose media is asked for, in the task's place.
    #[arg(long, value_name = "ID", conflicts_with = "task")]
    project: Option<String>,
    /// The media, as the task's data has it.
    #[arg(long, value_parser = super::media_uri)]
    uri: MediaUri,
    /// Print JSON instead of lines.
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    fn target(&self) -> Result<Target, CliError> {
        match (&self.task, &self.project, &self.uri) {
            (Some(task), _, _) => Ok(Target::Task(TaskId::new(task.as_str()))),
            (None, Some(project), _) => Ok(Target::Project(ProjectId::new(project.as_str()))),
            // `/data/local-files/` names neither.
            (None, None, MediaUri::Local { .. }) => Ok(Target::AnyProject),
            (None, None, _) => Err(CliError::Usage(
                "--task or --project is needed; only local files are asked for without".into(),
            )),
        }
    }
}

/// Explains; exits with 0 where the media is allowed and with 1 where it is denied.
///
/// # Errors
/// The configuration's and the access list's mistakes, arguments that do not fit, no answer of the access source.
pub async fn run(config: &Path, args: &ExplainArgs) -> Result<ExitCode, CliError> {
    let explanation = explain(config, args).await?;
    if args.json {
        super::print_json(&explanation);
    } else {
        super::print(&explanation.to_string());
    }
    Ok(match explanation.allowed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn explain(config: &Path, args: &ExplainArgs) -> Result<Explanation, CliError> {
    let target = args.target()?;
    let config = super::load(config)?.config;
    let authority: Arc<dyn Authority> = match &config.access.source {
        AccessSource::File(list) => FileAuthority::open(list.to_owned(), config.access.media)?,
        AccessSource::Postgres(database) => {
            let (media, max_age) = (config.access.media, config.access.max_age);
            Arc::new(PostgresAuthority::open(database, media, max_age)?)
        }
        AccessSource::LabelStudio(_) => {
            return Err(CliError::Usage(
                "only an access list can be explained: with access.source = \"label-studio\" Label Studio decides, by \
                 the caller's own credential; ask Lockgate for the media with it, and see the access log"
                    .into(),
            ));
        }
    };
    let auth = config.auth.clone().ok_or(StartError::NoTokens)?;
    let authenticator = Authenticator::new(auth).map_err(CliError::Auth)?;
    authenticator.loaded().await;
    let now = SystemTime::now();
    let annotator = match authenticate(&authenticator, &super::from_stdin(&args.token)?, now).await
    {
        Ok(annotator) => annotator,
        Err(error) => return Ok(Explanation::unauthenticated(&error)),
    };
    let entitlement = authority.entitle(&annotator, &target, &args.uri).await?;
    let storages = app::storage_rules(&config);
    Ok(Question {
        annotator: &annotator,
        entitlement: &entitlement,
        target: &target,
        uri: &args.uri,
        storages: &storages,
        now,
    }
    .explain())
}

async fn authenticate(
    authenticator: &Authenticator,
    token: &Secret,
    now: SystemTime,
) -> Result<Arc<Annotator>, AuthError> {
    let credentials = Credentials {
        bearer: Some(token.expose()),
        ..Credentials::default()
    };
    authenticator.authenticate(credentials, now).await
}
