//! What can go wrong in an operator, source or sink.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use streamfleet_env::StorageError;
use streamfleet_state::StateError;
use streamfleet_types::{BatchError, Outlook};

/// Why an operator, source or sink cannot go on. Fails the job.
#[derive(Debug, thiserror::Error)]
pub enum DataflowError {
    /// An expression could not be evaluated.
    #[error("{operator}: {source}")]
    Expression {
        /// The operator.
        operator: String,
        /// What the evaluation said.
        source: DataFusionError,
    },
    /// State failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A batch could not be made.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Arrow refused.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A column that is declared NOT NULL would get a NULL.
    #[error(
        "{operator}: column `{column}` is NOT NULL, but a row has NULL there: use COALESCE or leave such rows out, all of them with 'table.exec.sink.not-null-enforcer' = 'DROP'"
    )]
    Null {
        /// The operator.
        operator: String,
        /// The column.
        column: String,
    },
    /// A row was taken back that was never given: the input is not the changelog that it claims to be.
    #[error("{operator}: a row was retracted that is not in state: {row}")]
    UnknownRetraction {
        /// The operator.
        operator: String,
        /// The row's text.
        row: String,
    },
    /// An arithmetic result does not fit its type.
    #[error("{operator}: {detail}")]
    Overflow {
        /// The operator.
        operator: String,
        /// Which result.
        detail: String,
    },
    /// A plan asks for what operators cannot do; the planner should have refused it.
    #[error("{operator}: not supported: {detail}")]
    Unsupported {
        /// The operator.
        operator: String,
        /// What.
        detail: String,
    },
    /// An option of a table has a value that its connector or format cannot use.
    #[error("table {table}: option '{option}' = '{value}': {detail}")]
    Option {
        /// The table.
        table: String,
        /// The option's key.
        option: String,
        /// Its value; empty if it is absent.
        value: String,
        /// What is wrong, and what is needed.
        detail: String,
    },
    /// A record of the outside world cannot be read or written.
    #[error("{place}: {detail}")]
    Record {
        /// Table, file and offset, or topic and partition.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The outside world failed.
    #[error("{place}: {detail}")]
    External {
        /// Table and system.
        place: String,
        /// What it said, and what to do.
        detail: String,
    },
    /// The outside world refuses what the job asks for.
    #[error("{place}: {detail}")]
    Refused {
        /// Table and system.
        place: String,
        /// What it said, and what to do.
        detail: String,
    },
}

impl DataflowError {
    /// The outside world failed, in a way of which another run may expect this.
    pub fn outside(place: String, detail: String, outlook: Outlook) -> Self {
        match outlook {
            Outlook::MayPass => Self::External { place, detail },
            Outlook::Refused => Self::Refused { place, detail },
            Outlook::Lasts => Self::Record { place, detail },
        }
    }

    /// Storage failed a source or a sink.
    pub fn of_storage(place: String, error: &StorageError) -> Self {
        Self::outside(place, error.to_string(), error.outlook())
    }

    /// What another run may expect: the same rows, plan and options come again.
    pub const fn outlook(&self) -> Outlook {
        match self {
            Self::Expression { .. }
            | Self::Null { .. }
            | Self::Overflow { .. }
            | Self::Unsupported { .. }
            | Self::Option { .. }
            | Self::Record { .. } => Outlook::Lasts,
            Self::Refused { .. } => Outlook::Refused,
            // Nobody knows: some of these come of the order in which rows met.
            Self::State(_)
            | Self::Batch(_)
            | Self::Arrow(_)
            | Self::UnknownRetraction { .. }
            | Self::External { .. } => Outlook::MayPass,
        }
    }

    /// The operator that its text begins with, if it does with one.
    pub fn operator(&self) -> Option<&str> {
        match self {
            Self::Expression { operator, .. }
            | Self::Null { operator, .. }
            | Self::UnknownRetraction { operator, .. }
            | Self::Overflow { operator, .. }
            | Self::Unsupported { operator, .. } => Some(operator),
            Self::State(_)
            | Self::Batch(_)
            | Self::Arrow(_)
            | Self::Option { .. }
            | Self::Record { .. }
            | Self::Refused { .. }
            | Self::External { .. } => None,
        }
    }
}
