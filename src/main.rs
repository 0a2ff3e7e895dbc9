//! The binary: arguments in, exit code out.

use std::process::ExitCode;

/// Gives the system back what many connections needed a while ago and nobody needs now.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    lockgate::cli::main(std::env::args_os())
}
