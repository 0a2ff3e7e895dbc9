//! One connection to a Redis server, had when it is first needed, shared by all requests, and had again after it broke.
//!
//! Follows Redis' "Client handling" and "TLS". TLS is the house's own (rustls), so that a CA is configured as for every
//! other storage. A server that cannot be reached is asked once for all who wait. Never shows the password: of what the
//! server says, its code alone is passed on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::backend::BackendError;
use crate::backend::config::RedisConfig;
use crate::backend::http::{HttpClientError, tls_config};
use crate::backend::renewing::{Issuer, Lease, Renewing};

/// A server that has not let us in by then, handshakes included, is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The way to one database.
pub struct Connection(Renewing<Open>);

/// A connection that was open when it was last seen.
pub struct Open {
    commands: MultiplexedConnection,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects when it is first used. A command that has no answer within `stall_timeout`, those before it on the
    /// connection included, fails.
    pub fn new(config: RedisConfig, stall_timeout: Duration) -> Result<Self, HttpClientError> {
        let tls = match config.tls {
            true => Some(connector(config.ca_file.as_deref())?),
            false => None,
        };
        Ok(Self(Renewing::new(Door {
            config,
            tls,
            stall_timeout,
        })))
    }

    /// The connection in use, or a new one.
    pub async fn open(&self) -> Result<Arc<Open>, BackendError> {
        self.0.current().await
    }

    /// The answer to one command. A connection that broke or stalled is given up, and the next command gets another.
    pub async fn ask(&self, open: &Open, command: &redis::Cmd) -> Result<Value, BackendError> {
        let answer = open.commands.clone().send_packed_command(command).await;
        let answer = answer.and_then(Value::extract_error);
        answer.map_err(|error| self.refused(&error))
    }

    /// The answers to several commands in one round trip; a value may be an error of its command alone.
    pub async fn ask_all(
        &self,
        open: &Open,
        commands: &redis::Pipeline,
    ) -> Result<Vec<Value>, BackendError> {
        let mut connection = open.commands.clone();
        let answers = connection.send_packed_commands(commands, 0, commands.len());
        answers.await.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &RedisError) -> BackendError {
        if error.is_io_error() || error.is_unrecoverable_error() {
            self.0.forget();
        }
        refusal(error)
    }
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, HttpClientError> {
    Ok(TlsConnector::from(Arc::new(tls_config(ca_file)?)))
}

/// Opens connections.
struct Door {
    config: RedisConfig,
    tls: Option<TlsConnector>,
    stall_timeout: Duration,
}

#[async_trait]
impl Issuer<Open> for Door {
    async fn issue(&self) -> Result<Lease<Open>, BackendError> {
        let open = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        // Not a time-out of storage: it is tried again like any other connection that cannot be had.
        let open = open.unwrap_or_else(|_| Err(unreachable("no connection within 3 s")))?;
        Ok(Lease {
            value: Arc::new(open),
            ends_at: None,
        })
    }
}

impl Door {
    async fn connect(&self) -> Result<Open, BackendError> {
        let RedisConfig { host, port, .. } = &self.config;
        let tcp = TcpStream::connect((host.as_str(), *port))
            .await
            .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return self.introduce(tcp).await;
        };
        let name = ServerName::try_from(host.clone()).map_err(unreachable)?;
        let stream = tls.connect(name, tcp).await.map_err(unreachable)?;
        self.introduce(stream).await
    }

    /// Says who we are and which database we want.
    async fn introduce(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Open, BackendError> {
        // Version 2 of the protocol says all we need, and servers before Redis 6 speak no other. No library's name is
        // set: CLIENT is a permission of its own.
        let mut introduction = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_db(i64::from(self.config.db))
            .set_skip_set_lib_name();
        if let Some(username) = &self.config.username {
            introduction = introduction.set_username(username);
        }
        if let Some(password) = &self.config.password {
            introduction = introduction.set_password(password.expose());
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.stall_timeout));
        let (commands, driver) =
            MultiplexedConnection::new_with_config(&introduction, stream, config)
                .await
                .map_err(|error| refusal(&error))?;
        Ok(Open {
            commands,
            _driver: AbortOnDropHandle::new(tokio::spawn(driver)),
        })
    }
}

fn unreachable(error: impl std::fmt::Display) -> BackendError {
    BackendError::Unavailable(format!("cannot connect: {error}"))
}

/// What the server, or the way to it, said instead of an answer, by the code that an error of Redis begins with ("Redis
/// serialization protocol", simple errors).
fn refusal(error: &RedisError) -> BackendError {
    if error.is_timeout() {
        return BackendError::TimedOut("redis did not answer in time");
    }
    let said = || error.code().unwrap_or_default().to_owned();
    let detail = error.detail().unwrap_or_default();
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED") => BackendError::AccessDenied(said()),
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            BackendError::AccessDenied("the user or the password is not valid".into())
        }
        Some("WRONGTYPE") => {
            BackendError::Protocol("the key holds another type than a string".into())
        }
        Some("MOVED" | "ASK" | "CROSSSLOT") => {
            BackendError::Protocol("the server is a node of a cluster, which is not served".into())
        }
        Some("BUSY" | "TRYAGAIN") => BackendError::throttled(said()),
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "UNKILLABLE") => {
            BackendError::Unavailable(said())
        }
        Some("ERR") if detail.contains("unknown command") => {
            BackendError::AccessDenied("the server does not know the command".into())
        }
        // Before Redis 7.2, of a command within a script.
        Some("ERR") if detail.contains("user executing the script") => {
            BackendError::AccessDenied("NOPERM".into())
        }
        Some("ERR") if detail.contains("max number of clients") => {
            BackendError::throttled("it has its maximum of clients")
        }
        Some(code) => BackendError::Protocol(format!("redis said {code}")),
        None => BackendError::Unavailable("the connection broke".into()),
    }
}
