//! `kind = "databricks"` and `"redis"`: what to change when they say no. Pure.

use crate::backend::BackendError;

/// What to change so that a workspace does not say this again.
pub fn databricks(error: &BackendError) -> String {
    match error {
        BackendError::NotFound => "correct the path: the file is not there, or nothing that this \
             identity may see; names are case-sensitive",
        BackendError::NoSuchBucket => "correct volume: \"catalog/schema/volume\", as Catalog Explorer shows it",
        BackendError::AccessDenied(said) if said.contains("the token is not valid") => {
            "correct token (or client_id and client_secret): make a new one in the workspace's settings"
        }
        BackendError::AccessDenied(_) => {
            "grant USE CATALOG, USE SCHEMA and READ VOLUME to this identity (lockgate setup prints the lines)"
        }
        BackendError::CredentialsUnavailable(_) => {
            "look at the workspace's token endpoint: it issues no token at the moment"
        }
        BackendError::NoCredentials(_) | BackendError::CredentialsRefused(_) => {
            "correct client_id and client_secret: an OAuth secret of a service principal that the \
             workspace knows"
        }
        BackendError::Changed => "try again: the file was written to meanwhile",
        BackendError::RangeNotSatisfiable => "try another file: this one is shorter",
        BackendError::Throttled { .. } => "try again later: the workspace limits the rate of requests",
        BackendError::Unavailable(_) | BackendError::TimedOut(_) => {
            "correct host, or let this machine reach it (the workspace may admit listed addresses alone)"
        }
        BackendError::Protocol(_) => "point host at the workspace itself: https://adb-1.azuredatabricks.net for one",
    }
    .into()
}

/// What to change so that a Redis server does not say this again.
pub fn redis(error: &BackendError) -> String {
    match error {
        BackendError::NotFound => "correct the key: there is none of that name in this database (db)",
        BackendError::NoSuchBucket => "correct db",
        BackendError::AccessDenied(said) if said == "NOAUTH" || said.contains("password") || said == "WRONGPASS" => {
            "correct username and password"
        }
        BackendError::AccessDenied(_) => {
            "allow the user GETRANGE and EXISTS on these keys (EVAL and GET as well for values above \
             8 MiB, SCAN and STRLEN to list): ACL SETUSER name +getrange +exists +eval +get ~*"
        }
        BackendError::NoCredentials(_)
        | BackendError::CredentialsUnavailable(_)
        | BackendError::CredentialsRefused(_) => {
            "configure username and password"
        }
        BackendError::Changed => "try again: the value was written to meanwhile",
        BackendError::RangeNotSatisfiable => "try another key: this value is shorter",
        BackendError::Throttled { .. } => "try again later: the server is busy, or has its maximum of clients",
        BackendError::Unavailable(_) => {
            "correct host, port, tls and ca_file, or start the server: it cannot be reached so"
        }
        BackendError::TimedOut(_) => "look at the server's SLOWLOG and at the network between",
        BackendError::Protocol(_) => {
            "point host and port at one Redis server (no cluster node), and name keys that hold strings"
        }
    }
    .into()
}
