//! `lockgate db`: the schema of `access.source = "postgres"`, and whole access lists into it and out of it.
//!
//! Connects as the schema's owner or an editor, by a URL of its own where one is given: what serves has no right to any
//! of this. Never prints the URL.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::CliError;
use crate::authority::AccessSource;
use crate::authority::postgres::admin::{self, Session};
use crate::authority::postgres::{PostgresConfig, schema};
use crate::secret::Secret;

/// The arguments of `lockgate db`.
#[derive(Debug, clap::Args)]
pub struct DbArgs {
    #[command(subcommand)]
    verb: DbVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DbVerb {
    /// Make the schema, or bring it up to this Lockgate; run again, it changes nothing.
    #[command(
        after_help = "Example:\n  LOCKGATE_ADMIN_DATABASE_URL=postgres://owner@db/platform lockgate db migrate\n  lockgate db roles | psql postgres://owner@db/platform"
    )]
    Migrate(Database),
    /// Read an access list (projects.toml) into the tables: its projects come to be as it says, in one transaction.
    #[command(
        after_help = "Example:\n  lockgate db import projects.toml\n  lockgate db import projects.toml --only"
    )]
    Import(ImportArgs),
    /// Print the tables as an access list, which says the same.
    #[command(after_help = "Example:\n  lockgate db export > projects.toml")]
    Export(Database),
    /// Print the roles that are needed, as SQL: what serves only reads.
    #[command(after_help = "Example:\n  lockgate db roles | psql postgres://owner@db/platform")]
    Roles,
}

/// Which database is meant.
#[derive(Debug, clap::Args)]
pub struct Database {
    /// The database, over access.postgres.url, and then without a configuration; a password is better in the variable.
    #[arg(long, value_name = "URL", env = "LOCKGATE_ADMIN_DATABASE_URL", hide_env_values = true, value_parser = super::secret)]
    database: Option<Secret>,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The access list.
    list: PathBuf,
    /// Take out the projects that the list does not have; without this they stay as they are.
    #[arg(long)]
    only: bool,
    #[command(flatten)]
    database: Database,
    /// Print an object instead of a line.
    #[arg(long)]
    json: bool,
}

impl Database {
    /// Connects.
    ///
    /// # Errors
    /// That it is not said which, or why there is no connection.
    pub async fn open(&self, config: &Path) -> Result<Session, CliError> {
        Ok(Session::open(&self.config(config)?).await?)
    }

    fn config(&self, file: &Path) -> Result<PostgresConfig, CliError> {
        if let Some(url) = &self.database {
            let parsed = PostgresConfig::parse(url);
            return parsed.map_err(|error| CliError::Usage(format!("--database: {error}")));
        }
        let config = super::load(file)?.config;
        match config.access.source {
            AccessSource::Postgres(database) => Ok(*database),
            AccessSource::File(list) => Err(CliError::Usage(format!(
                "the access list is a file here: edit {}, which is in force within a second; this verb is for \
                 access.source = \"postgres\" (or name a database with --database)",
                list.display()
            ))),
            AccessSource::LabelStudio(_) => Err(CliError::Usage(
                "Label Studio says who may see what here: change members there; this verb is for access.source = \
                 \"postgres\" (or name a database with --database)"
                    .to_owned(),
            )),
        }
    }
}

/// Does what the verb says.
///
/// # Errors
/// What PostgreSQL said, or the list's mistakes; nothing has changed then.
pub async fn run(config: &Path, args: &DbArgs) -> Result<ExitCode, CliError> {
    match &args.verb {
        DbVerb::Migrate(database) => {
            let mut session = database.open(config).await?;
            let applied = schema::migrate(session.client()).await?;
            for (version, name) in &applied {
                super::print(&format!("applied {version} {name}\n"));
            }
            if applied.is_empty() {
                super::print(&format!("nothing to do: version {}\n", schema::VERSION));
            }
        }
        DbVerb::Import(args) => {
            let mut session = args.database.open(config).await?;
            let done = admin::import(session.client(), &args.list, args.only).await?;
            if args.json {
                super::print_json(&done);
            } else {
                let (projects, tasks, removed) = (done.projects, done.tasks, done.removed);
                super::print(&format!(
                    "projects {projects}, tasks {tasks}, projects taken out {removed}\n"
                ));
            }
        }
        DbVerb::Export(database) => {
            let mut session = database.open(config).await?;
            let mut to = BufWriter::new(io::stdout());
            admin::export(session.client(), &mut to).await?;
            to.flush().map_err(CliError::Stdout)?;
        }
        DbVerb::Roles => super::print(schema::ROLES),
    }
    Ok(ExitCode::SUCCESS)
}
