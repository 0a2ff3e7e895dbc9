//! The binary: arguments in, exit code out.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("demo") => {
            lockgate::cli::demo::run::run("127.0.0.1:8080".parse().expect("an address")).await
        }
        _ => {
            let file = arguments
                .get(3)
                .cloned()
                .unwrap_or_else(|| "lockgate.toml".into())
                .into();
            lockgate::cli::serve::run(lockgate::app::Source {
                file,
                environment: std::env::vars().collect(),
            })
            .await
        }
    }
}
