//! Protocol Buffers, one message a record. Flink has the messages' Java classes; here a file of their descriptors says how
//! they lie, and messages are found by the names of those classes too.

mod decode;
mod descriptors;
mod encode;
mod plan;
mod sift;
#[cfg(test)]
mod tests;

pub(super) use decode::ProtobufDecoder;
pub(super) use encode::ProtobufEncoder;

use crate::options::{bad, boolean, option};
use arrow::datatypes::Fields;
use plan::MessagePlan;
use prost_reflect::MessageDescriptor;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::{FormatDescriptor, OptionKind, OptionSpec, TableDescriptor};

const CLASS: &str = "protobuf.message-class-name";
const FILE: &str = "protobuf.descriptor-file";

/// The format's options.
#[derive(Debug, Clone)]
pub(crate) struct ProtobufOptions {
    message: MessageDescriptor,
    pub ignore_parse_errors: bool,
    /// What stands for NULL in lists and maps of texts, which hold none.
    null_literal: String,
    /// A field that is not there has its default, not NULL.
    reads_defaults: bool,
}

/// What the planner knows of it.
pub(super) fn descriptor() -> FormatDescriptor {
    FormatDescriptor {
        name: "protobuf",
        changes: false,
        options: vec![
            OptionSpec {
                required: true,
                ..option(
                    CLASS,
                    OptionKind::Text,
                    "",
                    "The message: by its name in the `.proto` file with its package, or by the name of its Java class.",
                )
            },
            OptionSpec {
                required: true,
                ..option(
                    FILE,
                    OptionKind::Text,
                    "",
                    "The file that `protoc --include_imports --descriptor_set_out=<file>` makes, where the job runs.",
                )
            },
            option(
                "protobuf.ignore-parse-errors",
                OptionKind::Boolean,
                "false",
                "Messages that cannot be read are left out and counted.",
            ),
            option(
                "protobuf.read-default-values",
                OptionKind::Boolean,
                "false",
                "`true`: a field that is not there has its default. `false`: it is NULL, but for plain fields of proto3 that cannot tell.",
            ),
            option(
                "protobuf.write-null-string-literal",
                OptionKind::Text,
                "",
                "What is written for NULL among the elements of an ARRAY or MAP of STRING, where no message has one.",
            ),
        ],
    }
}

impl ProtobufOptions {
    /// Reads them, and the file.
    pub fn of(table: &TableDescriptor) -> Result<Self, DataflowError> {
        let path = table.option(FILE).unwrap_or_default();
        let pool = descriptors::read(path).map_err(|detail| bad(table, FILE, detail))?;
        let class = table.option(CLASS).unwrap_or_default();
        let message = descriptors::find(&pool, class).map_err(|detail| bad(table, CLASS, detail))?;
        Ok(Self {
            message,
            ignore_parse_errors: boolean(table, "protobuf.ignore-parse-errors", false)?,
            null_literal: table.option("protobuf.write-null-string-literal").unwrap_or_default().to_owned(),
            reads_defaults: boolean(table, "protobuf.read-default-values", false)?,
        })
    }

    /// Which field of the message goes with which of a table's columns.
    fn plan(&self, table: &str, columns: &Fields) -> Result<MessagePlan, DataflowError> {
        MessagePlan::of(&self.message, columns).map_err(|detail| DataflowError::Unsupported {
            operator: format!("table {table}"),
            detail: format!("format 'protobuf': {detail}"),
        })
    }
}
