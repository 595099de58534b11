//! Formats of records.

use streamfleet_logical::FormatDescriptor;

/// What the planner knows of them.
pub fn descriptors() -> Vec<FormatDescriptor> {
    vec![]
}
