//! The way to a storage, one layer at a time: its name, a connection, TLS.
//!
//! Sends nothing but the handshake. Follows the order in which a request would fail.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::advice;
use super::provider::Naming;
use super::report::Step;
use crate::backend::http::tls_config;

/// A resolver asks several servers in this time.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// As the client has it: a storage that does not accept in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A handshake is two round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A server to reach.
pub struct Server<'a> {
    /// Its scheme, host and port.
    pub url: &'a Url,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<&'a Path>,
    /// What it was named by.
    pub naming: Naming,
}

/// Tries to reach a server: `name`, `connect` and `tls`, up to the first that fails.
pub async fn reach(server: &Server<'_>) -> Vec<Step> {
    let Server { url, naming, .. } = server;
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address stands in brackets in a URL and without them everywhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses = match look_up(host, port, naming).await {
        Ok(addresses) => addresses,
        Err(step) => return vec![step],
    };
    let listed: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
    let mut steps = vec![Step::ok("name", format!("{host}: {}", listed.join(", ")))];
    let begun = Instant::now();
    let stream = match connect(&addresses, naming).await {
        Ok(stream) => stream,
        Err(step) => {
            steps.push(step);
            return steps;
        }
    };
    let milliseconds = begun.elapsed().as_millis();
    steps.push(Step::ok(
        "connect",
        format!("port {port} in {milliseconds} ms"),
    ));
    steps.push(match url.scheme() {
        "https" => shake_hands(host, stream, server).await,
        _ => Step::skipped("tls", "the connection is configured to be plain"),
    });
    steps
}

async fn look_up(host: &str, port: u16, naming: &Naming) -> Result<Vec<SocketAddr>, Step> {
    let failed = |reason: String| {
        Step::failed(
            "name",
            format!("{host}: {reason}"),
            format!(
                "correct {}, or this machine's DNS{}",
                naming.made_of, naming.hint
            ),
        )
    };
    match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Err(_) => Err(failed("the name service did not answer in 5 s".into())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            match addresses.is_empty() {
                true => Err(failed("the name has no address".into())),
                false => Ok(addresses),
            }
        }
    }
}

/// The first address that accepts; else why the last one did not.
async fn connect(addresses: &[SocketAddr], naming: &Naming) -> Result<TcpStream, Step> {
    let mut failed = Step::skipped("connect", "no address");
    for address in addresses {
        failed = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => refused(address, &error, naming),
            Err(_) => Step::failed(
                "connect",
                format!("{address}: no answer in 3 s"),
                "let this machine reach the storage: a firewall, a security group or a missing \
                 route drops the packets",
            ),
        };
    }
    Err(failed)
}

fn refused(address: &SocketAddr, error: &io::Error, naming: &Naming) -> Step {
    let advice = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            let setting = naming.setting;
            format!("start the server, or correct {setting} and its port: nothing listens there")
        }
        _ => "let this machine reach the storage".into(),
    };
    Step::failed("connect", format!("{address}: {error}"), advice)
}

async fn shake_hands(host: &str, stream: TcpStream, server: &Server<'_>) -> Step {
    let naming = &server.naming;
    let setting = naming.setting;
    let failed = |detail: String, advice: String| Step::failed("tls", detail, advice);
    let config = match tls_config(server.ca_file) {
        Ok(config) => Arc::new(config),
        Err(error) => return failed(error.to_string(), "correct ca_file".into()),
    };
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return failed(
            format!("{host:?} is no name that a certificate can have"),
            format!("correct {setting}{}", naming.hint),
        );
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.and_then(|version| version.as_str());
            Step::ok("tls", version.unwrap_or("handshake done"))
        }
        Ok(Err(error)) => failed(error.to_string(), tls_advice(&error, naming)),
        Err(_) => failed("no handshake in 5 s".into(), speaks_none(setting)),
    }
}

fn tls_advice(error: &io::Error, naming: &Naming) -> String {
    let cause = error.get_ref();
    match cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        // Debug gives the names of rustls' kinds, which change less than its sentences.
        Some(rustls::Error::InvalidCertificate(kind)) => {
            advice::certificate(&format!("{kind:?} {kind}"), naming)
        }
        Some(rustls::Error::InvalidMessage(_)) => speaks_none(naming.setting),
        _ => "look at the server's TLS versions and certificate".into(),
    }
}

fn speaks_none(setting: &str) -> String {
    format!(
        "correct {setting} and its port, or turn TLS off (http://, tls = false): what listens there speaks none"
    )
}
