//! `lockgate serve`: runs until SIGTERM (being built).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `lockgate serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Where to listen, over server.listen of the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Serves.
pub async fn run(config: PathBuf, args: ServeArgs) -> ExitCode {
    let _ = (config, args);
    ExitCode::FAILURE
}
