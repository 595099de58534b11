//! What is wrong with a manifest, and where.

use crate::nearest;

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}{}: {message}", place(*.line, *.column))]
pub struct ManifestError {
    /// The file.
    pub origin: String,
    /// Line, from 1; 0 if unknown.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

fn place(line: usize, column: usize) -> String {
    if line == 0 { String::new() } else { format!(": line {line}, column {column}") }
}

impl ManifestError {
    pub(crate) fn from_yaml(origin: &str, error: &serde_yaml::Error) -> Self {
        let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
        let message = with_hint(message);
        Self { origin: origin.to_owned(), line, column, message }
    }
}

/// Turns serde's list of expected fields into the nearest one.
fn with_hint(message: &str) -> String {
    let Some((before, expected)) = message.split_once(", expected") else { return message.to_owned() };
    let mut parts = before.split('`');
    let Some(name) = parts.nth(1).filter(|_| before.contains("unknown")) else { return message.to_owned() };
    let known = expected.split('`').skip(1).step_by(2);
    match nearest(name, known) {
        Some(near) => format!("{before}, did you mean `{near}`?"),
        None => message.to_owned(),
    }
}
