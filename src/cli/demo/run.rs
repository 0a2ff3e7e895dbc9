//! The demo as a verb (being built).

use std::net::SocketAddr;
use std::process::ExitCode;

/// The arguments of `lockgate demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

/// Serves the demo.
pub async fn run(args: DemoArgs) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
