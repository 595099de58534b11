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

impl std::fmt::Display for OptionKind {
    /// As documentation names it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Integer => f.write_str("whole number"),
            Self::Number => f.write_str("number"),
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Duration => f.write_str("duration"),
            Self::MemorySize => f.write_str("size"),
            Self::OneOf(values) => write!(f, "`{}`", values.join("` or `")),
        }
    }
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
    /// A name that it had before and is taken under still; empty if none.
    pub older: &'static str,
    /// What holds if it is absent, for documentation; empty if nothing.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// Says why a value cannot be used.
pub type SettingCheck = fn(&str) -> Result<(), &'static str>;

/// An option of a job: a key of `SET`, of the manifest's `spec.job.config` or of `--set`.
#[derive(Debug, Clone)]
pub struct SettingSpec {
    /// Its key, kind and default. Values of [`OptionKind::OneOf`] are compared without case.
    pub option: OptionSpec,
    /// What a value of the right kind must fulfil besides; says why it cannot be used.
    pub check: Option<SettingCheck>,
    /// Why the option changes nothing here, if it is taken only so that scripts written for Flink run.
    pub no_effect: Option<&'static str>,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Its records have a key beside the value: it takes `'key.format'`, and `'value.format'` instead of `'format'`.
    pub key_format: bool,
    /// Its records replace one another by the primary key, which a table must declare, and which must have a format.
    pub upsert: bool,
    /// Its options, besides `connector`, `format` and the format's own. A name that ends with `#` takes any ending.
    pub options: Vec<OptionSpec>,
    /// Its metadata columns.
    pub metadata: Vec<MetadataColumn>,
}

/// What a format tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatDescriptor {
    /// The value of `'format'`; its options begin with it and a dot.
    pub name: &'static str,
    /// Its records say what became of a row: reading gives updates and deletions, and writing takes them.
    pub changes: bool,
    /// Its options, with the prefix.
    pub options: Vec<OptionSpec>,
}
