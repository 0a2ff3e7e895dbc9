//! `lockgate completions` and `lockgate man`: what a shell and man(1) want to know, made of the definitions that
//! `--help` shows, so that neither can differ from it.
//!
//! Reads no configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CliError};

/// The arguments of `lockgate completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// The arguments of `lockgate man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each verb into this directory; without it lockgate(1) is printed.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

/// Prints the script that a shell completes arguments by.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lockgate", &mut script);
    super::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// Prints lockgate(1), or writes it and every verb's page.
///
/// # Errors
/// The directory cannot be written to.
pub fn man(args: &ManArgs) -> Result<ExitCode, CliError> {
    match &args.out {
        None => super::print(&page(&command())),
        Some(directory) => write_pages(directory).map_err(|error| CliError::Write {
            path: directory.clone(),
            error,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The definitions, built: every verb has its display name then, which man(1) calls it by: lockgate-serve(1).
fn command() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn write_pages(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let command = command();
    std::fs::write(directory.join("lockgate.1"), page(&command))?;
    for verb in command.get_subcommands() {
        let file = directory.join(format!("lockgate-{}.1", verb.get_name()));
        std::fs::write(file, page(verb))?;
    }
    Ok(())
}

/// Without the section that clap_mangen makes of the text behind the options: troff would fill its examples to
/// paragraphs, so they are written as they stand (groff_man(7), `.EX`).
fn page(command: &Command) -> String {
    let examples = command.get_after_help().map(ToString::to_string);
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone().after_help(None));
    // A vector takes all that is written.
    let _ = man.render(&mut page);
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if let Some(examples) = examples {
        let lines = examples.lines().map(|line| {
            // A line that begins with a dot or an apostrophe would be a request; a backslash begins an escape.
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            let line = line.replace('\'', "\\(aq");
            format!("\\&{line}\n")
        });
        page.push_str(".SH EXAMPLES\n.EX\n");
        page.extend(lines);
        page.push_str(".EE\n");
    }
    page
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_that_lists_its_options_and_keeps_its_example_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        write_pages(directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let overview = read("lockgate.1");
        let command = command();
        for verb in command.get_subcommands() {
            let name = verb.get_name();
            let escaped = name.replace('-', "\\-");
            assert!(
                overview.contains(&format!("lockgate\\-{escaped}(1)")),
                "{name}"
            );
            let page = read(&format!("lockgate-{name}.1"));
            for option in verb.get_arguments().filter_map(|option| option.get_long()) {
                let option = option.replace('-', "\\-");
                assert!(page.contains(&format!("\\-\\-{option}")), "{name} {option}");
            }
            assert!(page.contains(".EX\n\\&Example:\n\\&  "), "{name}: {page}");
        }
    }
}
