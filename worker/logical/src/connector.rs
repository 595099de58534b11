//! What a connector or format tells the planner of itself.

/// The kind of value that an option takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Flink's durations: `10 s`, `1 min`, `1 d`, `500 ms`.
    Duration,
    /// Flink's memory sizes: `64 mb`, `1 kb`.
    MemorySize,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// One option of a connector or format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionSpec {
    /// Its key under `WITH`. A `#` stands for a column's name, as in `fields.#.kind`.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// A table without it is refused.
    pub required: bool,
    /// What holds if it is absent, for documentation; empty if nothing.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// A column that a connector can give besides the record's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    /// Its key.
    pub key: &'static str,
    /// Its type.
    pub data_type: arrow::datatypes::DataType,
}

/// What a connector tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorDescriptor {
    /// The value of `'connector'`.
    pub name: &'static str,
    /// It can be read.
    pub source: bool,
    /// It can be written.
    pub sink: bool,
    /// As a sink it takes updates and deletions too.
    pub sink_takes_changes: bool,
    /// It needs a `'format'`.
    pub uses_format: bool,
    /// Its options, besides `connector`, `format` and the format's own.
    pub options: Vec<OptionSpec>,
    /// Its metadata columns.
    pub metadata: Vec<MetadataColumn>,
}

/// What a format tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescriptor {
    /// The value of `'format'`; its options begin with it and a dot.
    pub name: &'static str,
    /// Its options, with the prefix.
    pub options: Vec<OptionSpec>,
}
