//! The demo's files: a configuration, an access list and tasks, written as an operator would write them.
//!
//! Secrets go into files of their own, which the configuration refers to. Everything lies in one directory.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use url::Url;

use super::media::Media;
use super::{ANNA, BUCKET, token};

/// The configuration's file name.
pub(super) const FILE: &str = "lockgate.toml";
/// The access list's file name.
pub(super) const ACCESS_LIST: &str = "projects.toml";
const TASKS: &str = "tasks.jsonl";
const TOKEN_SECRET: &str = "token.secret";
const STORAGE_SECRET: &str = "storage.secret";

/// What the files are written from.
pub(super) struct Settings<'a> {
    pub(super) listen: SocketAddr,
    pub(super) endpoint: &'a Url,
    pub(super) secret_access_key: &'a str,
    pub(super) token_secret: &'a str,
    pub(super) tasks: &'a [Media],
}

/// Writes all of them.
pub(super) fn write(dir: &Path, settings: &Settings<'_>) -> io::Result<()> {
    std::fs::write(dir.join(TOKEN_SECRET), settings.token_secret)?;
    std::fs::write(dir.join(STORAGE_SECRET), settings.secret_access_key)?;
    std::fs::write(dir.join(TASKS), tasks(settings.tasks))?;
    write_access_list(&dir.join(ACCESS_LIST), true)?;
    std::fs::write(dir.join(FILE), configuration(dir, settings))
}

/// Replaces the access list in one step, as a careful operator does: no reader sees half of it.
pub(super) fn write_access_list(path: &Path, anna_is_member: bool) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".projects-")
        .tempfile_in(dir)?;
    file.write_all(access_list(anna_is_member).as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The media URI of a key.
pub(super) fn uri(key: &str) -> String {
    format!("s3://{BUCKET}/{key}")
}

/// The id of the n-th task.
pub(super) fn task_id(n: usize) -> usize {
    n + 1
}

fn configuration(dir: &Path, settings: &Settings<'_>) -> String {
    let file = |name: &str| quoted(&dir.join(name).display().to_string());
    format!(
        r#"[server]
listen = "{listen}"
admin_listen = "127.0.0.1:0"
drain = "2s"

[server.limits]
bandwidth = "16MiB"              # per annotator: so that a large body takes a while, and can be seen being cut

[auth.jwt]
issuer = "{issuer}"
audience = "{audience}"
algorithms = ["HS256"]
hmac_secret = {{ file = {token_secret} }}

[access]
source = "file"
file = {access_list}
media = "task"

[cache]
memory = "256MiB"

[log]
access = "off"                   # the page shows it

[[storage]]
id = "demo"
kind = "s3"
bucket = "{BUCKET}"
region = "us-east-1"
endpoint = "{endpoint}"
access_key_id = "LOCKGATEDEMO"
secret_access_key = {{ file = {storage_secret} }}
delivery = "proxy"
"#,
        listen = settings.listen,
        issuer = token::ISSUER,
        audience = token::AUDIENCE,
        token_secret = file(TOKEN_SECRET),
        access_list = file(ACCESS_LIST),
        endpoint = settings.endpoint,
        storage_secret = file(STORAGE_SECRET),
    )
}

fn access_list(anna_is_member: bool) -> String {
    let members = if anna_is_member {
        quoted(ANNA)
    } else {
        String::new()
    };
    format!(
        r#"[[project]]
id = "1"
storages = ["demo"]
members = [{members}]
tasks = "{TASKS}"
"#
    )
}

/// Label Studio's own JSON, a task on a line.
fn tasks(media: &[Media]) -> String {
    let task = |(n, media): (usize, &Media)| {
        let data = json!({ media.kind: uri(media.key), "caption": media.caption });
        format!("{}\n", json!({ "id": task_id(n), "data": data }))
    };
    media.iter().enumerate().map(task).collect()
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;
    use crate::cli::demo::media;

    #[test]
    fn the_files_are_toml_and_json_and_hold_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = Url::parse("http://127.0.0.1:9").unwrap();
        let settings = Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            endpoint: &endpoint,
            secret_access_key: "s3-secret",
            token_secret: "jwt-secret",
            tasks: &media::all(),
        };
        write(dir.path(), &settings).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let written: toml::Table = read(FILE).parse().unwrap();
        assert_eq!(written["storage"][0]["bucket"].as_str(), Some(BUCKET));
        assert!(!read(FILE).contains("s3-secret") && !read(FILE).contains("jwt-secret"));
        let tasks: Vec<serde_json::Value> = read(TASKS)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            tasks[5]["data"]["video"],
            "s3://demo.media/video/crossing.mp4"
        );
    }

    #[test]
    fn revoking_leaves_the_project_without_members() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ACCESS_LIST);
        for (member, count) in [(true, 1), (false, 0), (true, 1)] {
            write_access_list(&path, member).unwrap();
            let list: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            assert_eq!(
                list["project"][0]["members"].as_array().unwrap().len(),
                count
            );
        }
    }
}
