//! Random or counted rows.
use streamfleet_dataflow::{DataflowError, Source, SourceContext};
use streamfleet_logical::{ConnectorDescriptor, ScanSpec};
pub fn descriptor() -> ConnectorDescriptor { ConnectorDescriptor { name: "datagen", source: true, sink: false, sink_takes_changes: false, uses_format: false, options: vec![], metadata: vec![] } }
pub fn source(_spec: &ScanSpec, _context: SourceContext) -> Result<Box<dyn Source>, DataflowError> { unimplemented!() }
pub fn is_bounded(_spec: &ScanSpec) -> Result<bool, DataflowError> { Ok(false) }
