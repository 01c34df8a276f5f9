//! The `unbusy` command.
//!
//! `cli` turns what the user wrote (options, variables, a file) into checked settings and knows every message about
//! mistakes; `commands` does what was asked; `asking` puts questions to a server
//! for some of them, `endpoint` to a proxy; this file only picks the command and the exit code.
mod asking;
mod cli;
mod commands;
mod endpoint;
mod logging;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use unbusy_proxy::StartError;

use cli::{Cli, Command, UsageError};

const RUNTIME_FAILURE: u8 = 1;
const USAGE_FAILURE: u8 = 2;

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::Proxy(args) => commands::proxy::run(args),
        Command::Run(args) => commands::run::run(args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Top(args) => commands::top::run(args),
        Command::Kill(args) => commands::kill::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
    };
    result.unwrap_or_else(|error| {
        // Not eprintln, which panics when nobody reads standard error any more.
        let _ = writeln!(std::io::stderr(), "error: {}", message(&error));
        ExitCode::from(exit_code(&error))
    })
}

/// The error and its causes, except those that the text before them tells already.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |message, cause| match message.as_str() {
        "" => cause,
        told if told.ends_with(&cause) => message,
        told => format!("{told}: {cause}"),
    })
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() {
        return USAGE_FAILURE;
    }
    match error.downcast_ref() {
        None | Some(StartError::Listen { .. } | StartError::Thread(_)) => RUNTIME_FAILURE,
        // Everything else that keeps a proxy from starting is in its configuration.
        Some(_) => USAGE_FAILURE,
    }
}
