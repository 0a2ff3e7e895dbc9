//! Access lists in a real PostgreSQL: in force on every replica at once, never open when it is gone, the same decisions
//! as a list in a file.

mod bulk;
mod conformance;
mod connections;
mod lists;
mod outage;
mod people;
mod questions;
mod replicas;
mod rights;
mod server;
mod tls;
mod views;
mod warm;

use crate::postgres::server::Postgres;
use crate::support::client::Ask;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{eventually, token, uri};

/// One project by tasks, one by storage: bo is assigned, anna a member, chen in a group.
const LIST: &str = "
insert into lockgate.project values ('1', null), ('2', 'storage');
insert into lockgate.project_storage (project, storage) values ('1', 'media'), ('2', 'media');
insert into lockgate.member values ('1', 'anna'), ('1', 'bo'), ('2', 'dora');
insert into lockgate.project_group values ('1', 'labelers');
insert into lockgate.task values ('7', '1'), ('8', '1');
insert into lockgate.task_media (task, uri) values ('7', 's3://media/a.mp4'), ('8', 's3://media/b.mp4');
insert into lockgate.task_assignee values ('8', 'bo');
";

/// A database with [`LIST`] in it, and an S3 server with its media.
async fn started() -> Option<(Postgres, Store)> {
    let postgres = Postgres::start().await?;
    postgres.sql(LIST).await;
    let store = Store::start().await;
    for key in ["a.mp4", "b.mp4", "c.mp4"] {
        store.put("media", key, key.as_bytes().to_vec(), Some("video/mp4"));
    }
    Some((postgres, store))
}

/// A gateway that hears of changes.
async fn replica(postgres: &Postgres, store: &Store) -> Gateway {
    ready(postgres.setup().storage("media", &store.section("media"))).await
}

async fn ready(setup: Setup) -> Gateway {
    let gateway = setup.start().await;
    eventually("it hears of changes", async || {
        (gateway.admin().get("/readyz").status().await == Some(200)).then_some(())
    })
    .await;
    gateway
}

fn media(key: &str) -> String {
    format!("s3://media/{key}")
}

async fn status(gateway: &Gateway, subject: &str, path: String) -> u16 {
    status_of(gateway.client().get(path).by(subject)).await
}

async fn status_of(ask: Ask) -> u16 {
    ask.answer().await.status
}

/// A task's media, by somebody who is in a group.
async fn status_in_group(gateway: &Gateway, group: &str, task: &str, key: &str) -> u16 {
    let token = token::with("chen", serde_json::json!({"groups": [group]}));
    let path = uri::task(task, &media(key));
    status_of(gateway.client().get(path).bearer(token)).await
}

/// A task's media.
async fn on_task(gateway: &Gateway, subject: &str, task: &str, key: &str) -> u16 {
    status(gateway, subject, uri::task(task, &media(key))).await
}

/// A project's media.
async fn on_project(gateway: &Gateway, subject: &str, project: &str, key: &str) -> u16 {
    status(gateway, subject, uri::project(project, &media(key))).await
}
