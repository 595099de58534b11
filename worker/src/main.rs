//! The `streamfleet` command.

mod cli;
mod command;
mod memory;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    memory::set_up();
    command::run(cli::Cli::parse())
}
