//! Streaming operators, and the traits that operators, sources and sinks are written to.
//!
//! A slot's thread drives everything here by calls that never wait. See [`Operator`] for the contract.

mod aggregate;
mod committer;
mod error;
mod expression;
mod lag;
pub mod operators;
mod output;
mod row_watermark;
mod sink;
mod source;

pub use committer::{CollectDone, Collected, CommitDone, Committer, CommitterContext};
pub use error::DataflowError;
pub use expression::{Predicate, Projector};
pub use lag::{PartitionLag, PartitionLags};
pub use operators::{Operator, OperatorContext, build};
pub use output::{Flow, Output};
pub use row_watermark::RowWatermark;
pub use sink::{PendingWork, Sink, SinkContext, SinkStart};
pub use source::{Source, SourceBatch, SourceContext, SourceErrors, SourceStatus, SplitState};
