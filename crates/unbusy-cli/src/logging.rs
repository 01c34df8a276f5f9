//! Logs on standard error.
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::UsageError;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// What is logged where nobody asked for more or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usual {
    /// For a command whose output is its log.
    Info,
    /// For a command that must not disturb another's output.
    Warn,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSettings {
    pub(crate) format: Format,
    pub(crate) usual: Usual,
    /// How many steps more than usual.
    pub(crate) verbosity: u8,
}

/// Sends events to standard error from here on.
pub(crate) fn start(settings: LogSettings) -> Result<(), UsageError> {
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_writer(std::io::stderr)
        // It would report a closed standard error to standard error, and panic.
        .log_internal_errors(false)
        .with_ansi(colours());
    match settings.format {
        Format::Text => logger.with_target(false).init(),
        Format::Json => logger.json().flatten_event(true).init(),
    }
    Ok(())
}

fn filter(settings: LogSettings) -> Result<EnvFilter, UsageError> {
    if let Some(text) = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()) {
        return EnvFilter::builder().parse(&text).map_err(|_| {
            UsageError::new(format!(
                "RUST_LOG {text:?}: not a log filter; write it like debug or unbusy_proxy=trace"
            ))
        });
    }
    // All our crates begin with this word; other libraries speak up only in need.
    Ok(EnvFilter::new(match (settings.usual, settings.verbosity) {
        // Who is warned that the server is busy also hears when that is over.
        (Usual::Warn, 0) => "warn,unbusy_proxy::notices=info",
        (Usual::Info, 0) | (Usual::Warn, 1) => "warn,unbusy=info",
        (Usual::Info, 1) | (Usual::Warn, 2) => "warn,unbusy=debug",
        _ => "warn,unbusy=trace",
    }))
}

fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !refused
}
