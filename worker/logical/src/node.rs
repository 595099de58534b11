//! The nodes of the logical plan.
//!
//! A node is an [`OperatorSpec`] over its inputs. Keys, arguments and times are *indices of input columns*: whatever is
//! computed is computed by a [`CalcSpec`] beneath. Only `Calc`, `Scan` and the filter of a `Join` hold expressions.

use crate::{Properties, TableDescriptor, WindowSpec};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::DFSchemaRef;
use datafusion_expr::Expr;
use std::fmt;
use std::sync::Arc;
use streamfleet_types::Millis;

/// A node and all beneath it.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub spec: OperatorSpec,
    /// What it reads.
    pub inputs: Vec<Arc<Self>>,
    /// What it gives; qualifiers are kept so that expressions above can refer to its columns.
    pub schema: DFSchemaRef,
    /// What is known of its output.
    pub properties: Properties,
}

impl Node {
    /// The Arrow schema of the output.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(self.schema.inner())
    }
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum OperatorSpec {
    /// Reads a table.
    Scan(ScanSpec),
    /// Filters, then projects.
    Calc(CalcSpec),
    /// Adds window columns to every row (once per window).
    WindowAssign(WindowAssignSpec),
    /// Aggregates per key and window; emits when the watermark passes the window's end. Append-only.
    WindowAggregate(WindowAggregateSpec),
    /// Aggregates per key; emits updates.
    GroupAggregate(GroupAggregateSpec),
    /// Joins two inputs, left then right.
    Join(JoinSpec),
    /// All rows of all inputs.
    Union,
    /// The first rows per key by an order.
    Rank(RankSpec),
    /// Rows that replace one another by key become a changelog.
    ChangelogNormalize(ChangelogNormalizeSpec),
    /// Changes of rows that meet in one key become those of the row that came last: stands before some sinks.
    UpsertMaterialize(UpsertMaterializeSpec),
    /// Writes a table.
    Sink(SinkSpec),
}

/// Reads a table. The source gives the columns of `read`; `expressions` make the node's output of them.
#[derive(Debug, Clone)]
pub struct ScanSpec {
    /// What is read.
    pub table: Arc<TableDescriptor>,
    /// Indices into the table's columns (physical and metadata ones) that the source must give, in this order.
    pub read: Vec<usize>,
    /// Schema of what the source gives: the columns of `read`, unqualified.
    pub read_schema: DFSchemaRef,
    /// A hint: the leaves of `read` columns that anything uses, as paths of names. A source may fill other leaves with nulls.
    pub used_paths: Vec<Vec<String>>,
    /// A hint over `read_schema`: rows for which it is not true are dropped later, so a source may leave them out. The
    /// watermark is taken from the rows that the source gives: one whose left out rows could hold it back, or whose rows can
    /// come late, must give them all.
    pub filter_hint: Option<Expr>,
    /// The output columns, over `read_schema`.
    pub expressions: Vec<Expr>,
    /// The watermark of a row (a timestamp in milliseconds), over `read_schema`.
    pub watermark: Option<Expr>,
}

/// Filters, then projects.
#[derive(Debug, Clone)]
pub struct CalcSpec {
    /// Rows for which it is not true are dropped.
    pub predicate: Option<Expr>,
    /// The output columns, over the input's schema.
    pub expressions: Vec<Expr>,
}

/// Adds `window_start`, `window_end` and `window_time` behind the input's columns.
#[derive(Debug, Clone)]
pub struct WindowAssignSpec {
    /// The windows.
    pub window: WindowSpec,
    /// The input column with the row's event time.
    pub time: usize,
}

/// Output columns that hold a window: `window_end` exclusive, `window_time` = end - 1 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WindowColumns {
    /// The start.
    pub start: Option<usize>,
    /// The end.
    pub end: Option<usize>,
    /// The window's rowtime.
    pub time: Option<usize>,
}

/// Where a window aggregate finds a row's window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WindowInput {
    /// Assign from the row's event time.
    Assign {
        /// The windows.
        window: WindowSpec,
        /// The input column with the event time.
        time: usize,
    },
    /// The input carries window columns already.
    Attached {
        /// Input column of the start.
        start: usize,
        /// Input column of the end.
        end: usize,
    },
}

/// Aggregates per key and window. Output: the keys, then the aggregates, then `window_start`, `window_end`, `window_time`
/// (timestamps in ms).
#[derive(Debug, Clone)]
pub struct WindowAggregateSpec {
    /// Where the window comes from.
    pub window: WindowInput,
    /// Input columns of the key, without the window's.
    pub keys: Vec<usize>,
    /// What is aggregated.
    pub aggregates: Vec<AggregateCall>,
}

/// Aggregates per key. Output: the keys, then the aggregates. Without aggregates it is `DISTINCT`.
#[derive(Debug, Clone)]
pub struct GroupAggregateSpec {
    /// Input columns of the key; empty for one global group.
    pub keys: Vec<usize>,
    /// What is aggregated.
    pub aggregates: Vec<AggregateCall>,
}

/// One aggregate function call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// Input column of the argument; `None` for `COUNT(*)`.
    pub argument: Option<usize>,
    /// Input column that must be true for the row to count (`FILTER (WHERE ..)`).
    pub filter: Option<usize>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// Type of the result, by Flink's rules: `AVG(BIGINT)` is `BIGINT`.
    pub result: DataType,
    /// Name of the output column.
    pub name: String,
}

/// The aggregate functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// `COUNT`.
    Count,
    /// `SUM`: NULL over no row.
    Sum,
    /// `AVG`: NULL over no row; integers divide truncating, as in Flink.
    Avg,
    /// `MIN`.
    Min,
    /// `MAX`.
    Max,
    /// `FIRST_VALUE`.
    FirstValue,
    /// `LAST_VALUE`.
    LastValue,
}

impl fmt::Display for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::FirstValue => "FIRST_VALUE",
            Self::LastValue => "LAST_VALUE",
        })
    }
}

/// Inner or left outer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// Rows with a partner.
    Inner,
    /// All left rows, with NULLs where there is no partner.
    Left,
}

/// Joins two inputs on equal keys. Output: the left columns, then the right columns.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Inner or left.
    pub kind: JoinKind,
    /// Pairs of left and right columns (index within its own input) that must be equal; NULL equals nothing. Never empty.
    pub on: Vec<(usize, usize)>,
    /// What else must hold, over left and right columns together.
    pub filter: Option<Expr>,
    /// The schema of `filter`: left then right columns, all nullable.
    pub filter_schema: DFSchemaRef,
    /// Event-time bounds, if `on` and `filter` imply any: rows may be dropped when they can find no partner.
    pub bounds: Option<TimeBounds>,
}

/// A pair of rows can match only if `left time + lower <= right time <= left time + upper` (ms).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeBounds {
    /// Left column that is a time attribute.
    pub left_time: usize,
    /// Right column that is a time attribute.
    pub right_time: usize,
    /// Lower bound of right - left.
    pub lower: Millis,
    /// Upper bound of right - left.
    pub upper: Millis,
}

/// The first rows per partition. Output: the input's columns, then (if asked) the rank as `BIGINT`.
#[derive(Debug, Clone)]
pub struct RankSpec {
    /// Input columns of the partition.
    pub partition: Vec<usize>,
    /// The order within it. Empty for the order in which rows come; then the limit is 1, the input append-only, and the row
    /// that came first stays.
    pub order: Vec<SortKey>,
    /// Ranks above it are dropped; at least 1.
    pub limit: u64,
    /// The partition column that is a window's end, of an append-only input: results are then final when the window ends.
    pub window_end: Option<usize>,
    /// The column of the order, if that is the event time alone, ascending; then the limit is 1, the input append-only, and the
    /// first row is final when the watermark has reached its time.
    pub event_time: Option<usize>,
    /// The rank is an output column.
    pub output_rank: bool,
}

/// Rows that replace one another by key become a changelog. An addition stands for the row of its key, a deletion says by
/// its key alone that the row is gone. The output's columns are the input's.
#[derive(Debug, Clone)]
pub struct ChangelogNormalizeSpec {
    /// Input columns of the key.
    pub key: Vec<usize>,
}

/// Of all rows that share a key only the one that came last counts: what a table that replaces rows by this key must hold.
/// For changelogs whose rows are told apart by other columns, or whose changes of one key may overtake each other. The
/// output's columns are the input's; its changes are told apart by the key, and an update is its new row alone.
#[derive(Debug, Clone)]
pub struct UpsertMaterializeSpec {
    /// Input columns of the key.
    pub key: Vec<usize>,
}

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// Input column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// NULL before all values.
    pub nulls_first: bool,
}

/// Writes a table. The input has exactly the table's physical and writable metadata columns, in order and type.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// What is written.
    pub table: Arc<TableDescriptor>,
}
