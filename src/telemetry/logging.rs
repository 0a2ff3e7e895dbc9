//! The process's own log: to standard error, for people on a terminal, as JSON lines otherwise.
//!
//! Never holds a token or a signature: what other crates say about requests on the wire is held back at any level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that says what is logged, in `tracing`'s directives; it wins over the configured level.
pub const VARIABLE: &str = "LOCKGATE_LOG";

/// Crates that write headers, canonical requests or presigned URLs to their debug log. No directive lowers them.
const HELD_BACK: &[&str] = &[
    "aws_config=info",
    "aws_credential_types=info",
    "aws_runtime=info",
    "aws_sdk_s3=info",
    "aws_sdk_sts=info",
    "aws_sigv4=info",
    "aws_smithy_http_client=info",
    "aws_smithy_runtime=info",
    "aws_smithy_runtime_api=info",
    "h2=info",
    "hyper=info",
    "hyper_util=info",
    "s3s=info",
];

/// The configured level, or [`VARIABLE`]'s directive, is not one.
#[derive(Debug, thiserror::Error)]
#[error("the log level {directives:?} is not understood; write error, warn, info, debug or trace")]
pub struct LoggingError {
    directives: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Begins logging; `level` is the configured one. A second call changes nothing.
///
/// # Errors
/// The level is not one.
pub fn init(level: &str) -> Result<(), LoggingError> {
    let directives = std::env::var(VARIABLE).unwrap_or_else(|_| level.to_owned());
    let filter = filter(&directives)?;
    let human = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An error here says that a log is there already, which is what was asked for.
    let _ = if human {
        subscriber.with_target(false).try_init()
    } else {
        subscriber.json().try_init()
    };
    Ok(())
}

fn filter(directives: &str) -> Result<EnvFilter, LoggingError> {
    let error = |source| LoggingError {
        directives: directives.to_owned(),
        source,
    };
    let mut filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(directives)
        .map_err(error)?;
    for held_back in HELD_BACK {
        filter = filter.add_directive(held_back.parse().map_err(error)?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_twice_is_harmless() {
        init("warn").unwrap();
        init("warn").unwrap();
    }

    #[test]
    fn a_level_that_is_none_is_an_error_that_says_what_to_write() {
        let error = filter("lockgate=loud").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("write error, warn, info, debug or trace")
        );
    }

    #[test]
    fn no_level_shows_what_other_crates_say_about_the_wire() {
        let shown = filter("trace,aws_sigv4=trace,hyper=trace")
            .unwrap()
            .to_string();
        assert!(shown.contains("aws_sigv4=info") && shown.contains("hyper=info"));
        assert!(!shown.contains("aws_sigv4=trace") && !shown.contains("hyper=trace"));
    }
}
