//! `lockgate health`: asks the admin listener of a Lockgate on this machine whether traffic may come. For containers,
//! which have neither a shell nor curl.
//!
//! Asks nobody else, and reads no more than a status line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::CliError;

/// One that takes longer serves nobody: the answer needs neither storage nor the access source.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where an HTTP/1 answer has its status code (RFC 9112 §4).
const STATUS: std::ops::Range<usize> = 9..12;

/// The arguments of `lockgate health`.
#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Its admin listener, for where there is no configuration file; else server.admin_listen of the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
}

/// Asks.
///
/// # Errors
/// The configuration's mistakes, or it has no admin listener.
pub async fn run(config: &Path, args: &HealthArgs) -> Result<ExitCode, CliError> {
    let configured = match args.admin_listen {
        Some(address) => Some(address),
        None => super::load(config)?.config.server.admin_listen,
    };
    let address = configured.map(reachable).ok_or_else(|| {
        CliError::Usage("server.admin_listen is \"off\": there is nobody to ask".to_owned())
    })?;
    let status = tokio::time::timeout(PATIENCE, ask(address)).await;
    Ok(match status {
        Ok(Ok(status)) if status == "200" => ExitCode::SUCCESS,
        Ok(Ok(status)) => unwell(&format!("{address} is not ready: it answers {status}")),
        Ok(Err(error)) => unwell(&format!("{address} does not answer: {error}")),
        Err(_) => unwell(&format!("{address} does not answer in time")),
    })
}

fn unwell(why: &str) -> ExitCode {
    super::print(&format!("{why}\n"));
    ExitCode::FAILURE
}

/// The status code of its readiness, as it is written.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut line = [0; STATUS.end];
    stream.read_exact(&mut line).await?;
    Ok(String::from_utf8_lossy(&line[STATUS]).into_owned())
}

/// Who listens at every address is asked at loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
