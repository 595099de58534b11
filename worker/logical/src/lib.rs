//! The logical plan and the descriptors that it refers to: data only.
//!
//! `sql` makes [`Node`] trees out of Flink SQL; `plan` turns them into job graphs; `dataflow` builds an operator from each
//! [`OperatorSpec`]. Expressions are DataFusion's, over the schema of the node's input.

mod aggregate;
mod changelog;
mod connector;
mod hint;
mod node;
mod scan_options;
mod table;
mod type_name;
mod watermark_alignment;
mod window;

pub use aggregate::{UnsupportedAggregate, supported};
pub use changelog::{ChangelogMode, Properties, StateBound};
pub use connector::{
    ConnectorDescriptor, FormatDescriptor, MetadataColumn, OptionKind, OptionSpec, SettingCheck, SettingSpec,
};
pub use node::{
    AggregateCall, AggregateFunction, CalcSpec, ChangelogNormalizeSpec, GroupAggregateSpec, JoinKind, JoinSpec, Node,
    OperatorSpec, RankSpec, ScanSpec, SinkSpec, SortKey, TimeBounds, UpsertMaterializeSpec, WindowAggregateSpec,
    WindowAssignSpec, WindowColumns, WindowInput,
};
pub use scan_options::{EMIT_STRATEGY, IDLE_TIMEOUT, SCAN_OPTIONS};
pub use table::{Column, ColumnKind, Position, TableDescriptor, WatermarkStrategy};
pub use type_name::type_name;
pub use watermark_alignment::WatermarkAlignment;
pub use window::WindowSpec;
