//! Logs on standard error: text with colour on a terminal, or JSON.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sets the level: `warn`, `info`, or per crate as in `streamfleet_coordinator=debug`.
const VARIABLE: &str = "STREAMFLEET_LOG";

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins logging; a second call changes nothing.
pub fn init(format: LogFormat, default_level: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colour = std::io::stderr().is_terminal();
    // A second subscriber is refused: the first one stays.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(colour).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
