//! Schemas that messages name by a number, kept by a registry as Confluent's.

mod http;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use http::HttpRegistry;
pub use settings::RegistrySettings;
pub(crate) use settings::{passed_over, registry_options};

use std::fmt;
use streamfleet_types::Outlook;

/// A schema as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its text.
    pub text: String,
    /// What it is written in, as `AVRO`.
    pub language: String,
    /// Texts of the schemas that it refers to, those first that others need.
    pub references: Vec<String>,
}

/// Why a registry does not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryFault {
    /// The registry answered: there is no such schema.
    pub is_unknown: bool,
    /// What happened, where, and what to do.
    pub detail: String,
    /// What another run may expect.
    pub outlook: Outlook,
}

impl fmt::Display for RegistryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for RegistryFault {}

/// Takes an answer; called once, on any thread.
pub type Answer<T> = Box<dyn FnOnce(Result<T, RegistryFault>) + Send>;

/// A way to a registry; asking never waits.
pub trait Registry: Send {
    /// The schema of this number.
    fn schema(&self, id: u32, done: Answer<RegisteredSchema>);

    /// The number of an Avro schema under a subject; with `register` it is added if the subject does not have it.
    fn id(&self, subject: String, schema: String, register: bool, done: Answer<u32>);
}
