//! What PostgreSQL said instead of an answer, in one line and with what to do about it. Never has a password in it:
//! neither the server nor its client repeats one.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why PostgreSQL did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Its own words, or its client's.
    #[error("{}", in_one_line(.0))]
    Said(#[from] Error),
    /// Neither a connection nor an answer came in time.
    #[error("no answer in time")]
    TimedOut,
    /// The certificates cannot be used.
    #[error("{0}")]
    Tls(#[from] std::io::Error),
    /// What a row has does not mean anything.
    #[error("{0}")]
    Row(String),
    /// What was asked cannot be done as the tables are.
    #[error("{0}")]
    Refused(String),
}

impl PostgresError {
    /// Whether the connection is gone, and with it perhaps every other: closed, or ended by the server (classes 08 and
    /// 57P of its Appendix A). What it says of a statement leaves the connection as it was.
    pub fn is_lost_connection(&self) -> bool {
        let Self::Said(error) = self else {
            return false;
        };
        error.is_closed()
            || error.code().is_none_or(|state| {
                let state = state.code();
                state.starts_with("08") || state.starts_with("57P")
            })
    }

    /// Whether what was prepared has to be prepared anew.
    pub fn is_stale_statement(&self) -> bool {
        let Self::Said(error) = self else {
            return false;
        };
        let stale = [
            // "cached plan must not change result type"
            &SqlState::FEATURE_NOT_SUPPORTED,
            &SqlState::INVALID_SQL_STATEMENT_NAME,
        ];
        error.code().is_some_and(|state| stale.contains(&state))
    }

    /// What to change; nothing where that is not known.
    pub fn advice(&self) -> Option<&'static str> {
        let Self::Said(error) = self else {
            return None;
        };
        let code = error.code()?;
        Some(match *code {
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::INVALID_SCHEMA_NAME => {
                "run lockgate db migrate as the schema's owner, or make the views that docs/postgres.md describes"
            }
            SqlState::INSUFFICIENT_PRIVILEGE => {
                "grant what the role lacks: lockgate db roles prints it"
            }
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "correct user and password of access.postgres, or the server's pg_hba.conf"
            }
            SqlState::INVALID_CATALOG_NAME => "correct the database's name in access.postgres.url",
            SqlState::TOO_MANY_CONNECTIONS => {
                "raise the server's max_connections, or lower access.postgres.connections"
            }
            _ => return None,
        })
    }
}

/// The error with its causes, and the server's detail and hint.
fn in_one_line(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        let more = [said.detail(), said.hint()].into_iter().flatten();
        return more.fold(said.message().to_owned(), |text, more| {
            format!("{text}: {more}")
        });
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace('\n', " ")
}
