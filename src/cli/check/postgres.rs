//! The steps for `access.source = "postgres"`: reached, encrypted, let in, migrated, readable, no more than readable.

use super::report::Step;
use crate::authority::PostgresConfig;
use crate::authority::postgres::admin::Session;
use crate::authority::postgres::{PostgresError, inspect, schema};
use crate::config::Config;

/// Tries the database as a request would.
pub async fn steps(config: &Config, database: &PostgresConfig) -> Vec<Step> {
    let mut steps = vec![];
    if let Err((step, error)) = try_out(config, database, &mut steps).await {
        let advice = error.advice().unwrap_or(match step {
            "connect" => "correct access.postgres.url, and let this machine reach it",
            _ => "see docs/postgres.md",
        });
        steps.push(Step::failed(step, error.to_string(), advice));
    }
    steps
}

async fn try_out(
    config: &Config,
    database: &PostgresConfig,
    steps: &mut Vec<Step>,
) -> Result<(), (&'static str, PostgresError)> {
    let at = |step: &'static str| move |error| (step, error);
    let mut session = Session::open(database).await.map_err(at("connect"))?;
    let client = &*session.client();
    let server = inspect::server(client).await.map_err(at("connect"))?;
    let by = if server.tls { ", by TLS" } else { "" };
    steps.push(Step::ok(
        "connect",
        format!(
            "PostgreSQL {}, database {}, as {}{by}",
            server.version, server.database, server.user
        ),
    ));
    steps.push(match schema::version(client).await.map_err(at("schema"))? {
        Some(schema::VERSION) => Step::ok("schema", format!("version {}", schema::VERSION)),
        Some(older) if older < schema::VERSION => Step::failed(
            "schema",
            format!(
                "version {older}, and this Lockgate reads {}",
                schema::VERSION
            ),
            "run lockgate db migrate as the schema's owner",
        ),
        Some(newer) => Step::warning(
            "schema",
            format!(
                "version {newer} is of a later Lockgate than this one, which reads {}",
                schema::VERSION
            ),
        ),
        None => Step::ok("schema", "none of Lockgate's own: views of yours are read"),
    });
    inspect::questions(client).await.map_err(at("read"))?;
    inspect::hears(database).await.map_err(at("read"))?;
    steps.push(Step::ok(
        "read",
        "every question can be put, and changes are heard of",
    ));
    if server.superuser {
        steps.push(Step::warning(
            "rights",
            format!(
                "{} is a superuser; Lockgate needs to read alone: lockgate db roles",
                server.user
            ),
        ));
    } else {
        let writable = inspect::writable(client).await.map_err(at("rights"))?;
        steps.extend((!writable.is_empty()).then(|| {
            let tables = writable.join(", ");
            let note = "Lockgate needs to read alone: lockgate db roles";
            Step::warning(
                "rights",
                format!("{} may write to {tables}; {note}", server.user),
            )
        }));
    }
    rows(config, client, steps).await.map_err(at("rows"))
}

/// Whether what stands in the tables means something to this configuration.
async fn rows(
    config: &Config,
    client: &tokio_postgres::Client,
    steps: &mut Vec<Step>,
) -> Result<(), PostgresError> {
    let configured: Vec<&str> = config.storages.iter().map(|it| it.id.as_str()).collect();
    let (projects, unknown) = inspect::projects(client, &configured).await?;
    steps.push(Step::ok("rows", format!("projects {projects}")));
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        let note = "their media is denied until a [[storage]] has that id";
        steps.push(Step::warning(
            "rows",
            format!("projects name storages that are not configured: {unknown}; {note}"),
        ));
    }
    if let Some(found) = inspect::misspelled(client).await? {
        let note = match found.asked_for {
            Some(asked_for) => format!("is asked for as {asked_for:?}, and not found"),
            None => "is no media URI".to_owned(),
        };
        steps.push(Step::warning(
            "rows",
            format!("lockgate.task_media: {:?} {note}", found.uri),
        ));
    }
    Ok(())
}
