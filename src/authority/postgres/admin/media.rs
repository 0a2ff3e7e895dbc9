//! The media of a project as its tasks name it, each once, page by page: for whoever reads all of it, for hours.
//!
//! A cursor that outlives its transaction (`DECLARE … WITH HOLD`): PostgreSQL puts the rows aside once, on its own disk,
//! so that no snapshot is held while media is read, and what views make of a platform's own tables wants no order and no
//! index. Here is never more than a page of it.

use futures_util::{Stream, stream};
use tokio_postgres::SimpleQueryMessage;

use super::Session;
use crate::authority::postgres::error::PostgresError;
use crate::authority::postgres::question::rule_of;
use crate::ids::StorageId;
use crate::project::MediaRule;

/// So many URIs are asked for at once: some hundred KiB.
const PAGE: usize = 1000;

const PROJECT: &str = "
    select p.media::text,
           array(select s.storage::text from lockgate.project_storage s where s.project = p.id order by s.position)
      from lockgate.project p where p.id = $1::text";

const NAMED: &str = "
    declare named scroll cursor with hold for
    select distinct m.uri::text from lockgate.task_media m join lockgate.task t on t.id = m.task
     where t.project = $1::text order by 1";

/// Which media the members of a project may see, and the storages that it comes from; `None`: there is no such project.
///
/// # Errors
/// What PostgreSQL said; a rule that is no known word.
pub async fn rule(
    session: &mut Session,
    project: &str,
    default: MediaRule,
) -> Result<Option<(MediaRule, Vec<StorageId>)>, PostgresError> {
    let Some(row) = session.client.query_opt(PROJECT, &[&project]).await? else {
        return Ok(None);
    };
    let rule = rule_of(row.try_get(0)?, default).ok_or_else(|| {
        PostgresError::Row(format!("project {project:?} has no known media rule"))
    })?;
    let storages: Vec<&str> = row.try_get(1)?;
    Ok(Some((
        rule,
        storages.into_iter().map(StorageId::from).collect(),
    )))
}

/// What a project's tasks name, put aside by PostgreSQL.
pub struct Named {
    session: Session,
    objects: u64,
}

impl Named {
    /// Has it put aside; as things are now, whatever changes later.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn of(mut session: Session, project: &str) -> Result<Self, PostgresError> {
        let transaction = session.client.transaction().await?;
        transaction.execute(NAMED, &[&project]).await?;
        transaction.commit().await?;
        // Through all of it and back: that is how many there are.
        let moved = session.client.simple_query("move all in named").await?;
        session
            .client
            .batch_execute("move absolute 0 in named")
            .await?;
        let objects = moved.iter().find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        Ok(Self {
            session,
            objects: objects.unwrap_or(0),
        })
    }

    /// How many there are.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// Each of them, as the tables spell it. Ends with the first error, that the connection is lost for one.
    pub fn uris(self) -> impl Stream<Item = Result<String, PostgresError>> {
        let pages = stream::try_unfold(self.session, async |session| {
            let fetch = format!("fetch {PAGE} from named");
            let page = session.client.simple_query(&fetch).await?;
            let uris: Vec<_> = page.iter().filter_map(uri).map(Ok).collect();
            Ok::<_, PostgresError>((!uris.is_empty()).then(|| (stream::iter(uris), session)))
        });
        futures_util::TryStreamExt::try_flatten(pages)
    }
}

fn uri(message: &SimpleQueryMessage) -> Option<String> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }
}
