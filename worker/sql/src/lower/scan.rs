//! Scans: which columns a source must give, and what else it may know.

use super::Lowering;
use super::calc::{calc, columns_of, is_leaf, substitute};
use super::properties::append_only;
use crate::error::SqlError;
use crate::table_source::{DeclaredTable, Gives};
use arrow::datatypes::{Field, Schema};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion_expr::{Expr, TableScan};
use std::collections::BTreeSet;
use std::sync::Arc;
use streamfleet_logical::{
    CalcSpec, ChangelogMode, ChangelogNormalizeSpec, Column as TableColumn, ColumnKind, Node, OperatorSpec, Properties,
    ScanSpec, StateBound, TableDescriptor,
};

/// The scan of a declared table. Rows that replace one another become a changelog above it.
pub(crate) fn scan(lowering: &Lowering<'_>, scan: &TableScan, declared: &DeclaredTable) -> Result<Arc<Node>, SqlError> {
    let table = &declared.table;
    let mut columns: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..table.columns.len()).collect());
    let asked = columns.len();
    let mut key: Vec<usize> = Vec::new();
    if declared.gives == Gives::Upserts {
        // Without its key nobody can tell what a row replaces.
        for column in table.primary_key.iter().filter_map(|name| table.columns.iter().position(|c| c.name == *name)) {
            key.push(columns.iter().position(|c| *c == column).unwrap_or(columns.len()));
            if key.last() == Some(&columns.len()) {
                columns.push(column);
            }
        }
    }
    let of = |column: usize| match &table.columns[column].kind {
        ColumnKind::Computed(expr) => expr.clone(),
        _ => Expr::Column(Column::from_name(&table.columns[column].name)),
    };
    let expressions: Vec<Expr> = columns.iter().map(|c| of(*c)).collect();
    let watermark = table.watermark.as_ref().map(|w| w.expression.clone());
    let used: BTreeSet<&str> =
        expressions.iter().chain(&watermark).flat_map(|e| e.column_refs()).map(|c| c.name.as_str()).collect();
    let mut read: Vec<usize> =
        (0..table.columns.len()).filter(|c| used.contains(table.columns[*c].name.as_str())).collect();
    if read.is_empty() {
        // Rows must be counted even if no column of theirs is used.
        read.extend(table.columns.iter().position(|c| !matches!(c.kind, ColumnKind::Computed(_))));
    }
    let field = |c: &usize| Field::new(&table.columns[*c].name, table.columns[*c].data_type.clone(), true);
    let read_schema = DFSchema::try_from(Schema::new(read.iter().map(field).collect::<Vec<_>>()));
    let read_schema = Arc::new(read_schema.map_err(|e| lowering.failed(&e))?);
    let spec = ScanSpec {
        table: Arc::clone(table),
        used_paths: paths(expressions.iter().chain(&watermark)),
        read,
        read_schema,
        filter_hint: None,
        expressions,
        watermark,
    };
    let spec = OperatorSpec::Scan(spec);
    let schema = Arc::clone(&scan.projected_schema);
    match declared.gives {
        Gives::Upserts => {
            let upserts = Arc::new(Node {
                spec,
                inputs: vec![],
                // A deletion has values for the key only.
                schema: schema_of(lowering, scan, table, &columns, |c| {
                    c.nullable || !table.primary_key.contains(&c.name)
                })?,
                properties: Properties { changelog: ChangelogMode::Retract, ..append_only() },
            });
            let changes = Arc::new(Node {
                spec: OperatorSpec::ChangelogNormalize(ChangelogNormalizeSpec { key: key.clone() }),
                inputs: vec![upserts],
                schema: schema_of(lowering, scan, table, &columns, |c| c.nullable)?,
                properties: Properties {
                    changelog: ChangelogMode::Retract,
                    upsert_keys: vec![key],
                    state: StateBound::Keys,
                    ..append_only()
                },
            });
            calc(lowering, &changes, None, &columns_of(&changes.schema)[..asked], &schema)
        }
        Gives::Changes => {
            let place = |name: &String| columns.iter().position(|c| table.columns[*c].name == *name);
            let key: Option<Vec<usize>> = table.primary_key.iter().map(place).collect();
            let properties = Properties {
                changelog: ChangelogMode::Retract,
                upsert_keys: key.into_iter().filter(|k| !k.is_empty()).collect(),
                // A row is taken back with the time that it came with: its time is no event time of the stream.
                ..append_only()
            };
            Ok(Arc::new(Node { spec, inputs: vec![], schema, properties }))
        }
        Gives::Inserts => {
            let time = table.watermark.as_ref().map(|w| w.column);
            let properties = Properties {
                time_attributes: (0..columns.len()).filter(|i| Some(columns[*i]) == time).collect(),
                ..append_only()
            };
            Ok(Arc::new(Node { spec, inputs: vec![], schema, properties }))
        }
    }
}

/// The schema of some columns of a table.
fn schema_of(
    lowering: &Lowering<'_>,
    scan: &TableScan,
    table: &TableDescriptor,
    columns: &[usize],
    is_nullable: impl Fn(&TableColumn) -> bool,
) -> Result<DFSchemaRef, SqlError> {
    let field = |column: &usize| {
        let column = &table.columns[*column];
        let field = Field::new(&column.name, column.data_type.clone(), is_nullable(column));
        (Some(scan.table_name.clone()), Arc::new(field))
    };
    let schema = DFSchema::new_with_metadata(columns.iter().map(field).collect(), Default::default());
    schema.map(Arc::new).map_err(|e| lowering.failed(&e))
}

/// The same scan with hints from the calc above it: the leaves that are used, and the filter.
pub(crate) fn narrow_scan(lowering: &Lowering<'_>, node: &Arc<Node>, scan: &ScanSpec, calc: &CalcSpec) -> Arc<Node> {
    let over_read = |expr: &Expr| substitute(lowering, expr, &node.schema, &scan.expressions).ok();
    let used: Vec<Expr> = calc.expressions.iter().chain(&calc.predicate).filter_map(over_read).collect();
    let mut narrow = scan.clone();
    narrow.used_paths = paths(used.iter().chain(&scan.watermark));
    narrow.filter_hint = calc.predicate.as_ref().and_then(over_read);
    Arc::new(Node { spec: OperatorSpec::Scan(narrow), ..node.as_ref().clone() })
}

/// The leaves that expressions use, as paths of names.
fn paths<'a>(expressions: impl Iterator<Item = &'a Expr>) -> Vec<Vec<String>> {
    let mut found = BTreeSet::new();
    for expression in expressions {
        let walked = expression.apply(|e| {
            if !is_leaf(e) {
                return Ok(TreeNodeRecursion::Continue);
            }
            found.insert(path(e));
            Ok(TreeNodeRecursion::Jump)
        });
        walked.expect("the visitor gives no error");
    }
    found.into_iter().collect()
}

fn path(leaf: &Expr) -> Vec<String> {
    match leaf {
        Expr::Column(column) => vec![column.name.clone()],
        Expr::ScalarFunction(call) => {
            let mut names = path(&call.args[0]);
            for argument in &call.args[1..] {
                if let Expr::Literal(ScalarValue::Utf8(Some(name)), _) = argument {
                    names.push(name.clone());
                }
            }
            names
        }
        _ => Vec::new(),
    }
}
