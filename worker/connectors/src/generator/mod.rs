//! What the generating sources share: random numbers by position, and blocks of rows dealt to splits.
//!
//! Row `n` of a generator is a pure function of the seed and `n`, so that the rows are the same at any parallelism and
//! after any restore.

mod pace;
mod random;
mod splits;

pub use pace::Pace;
pub use random::{Random, scale};
pub use splits::{Next, Splits, declared_splits};
