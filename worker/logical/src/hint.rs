//! What a source may read out of a scan's hints, without knowing expressions.

use crate::{ColumnKind, ScanSpec, TableDescriptor};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use std::sync::Arc;

impl ScanSpec {
    /// Reads all physical and metadata columns of a table as they are, without any hint.
    ///
    /// # Errors
    /// Two columns have one name.
    pub fn whole(table: Arc<TableDescriptor>) -> Result<Self, DataFusionError> {
        let read: Vec<usize> =
            (0..table.columns.len()).filter(|&c| !matches!(table.columns[c].kind, ColumnKind::Computed(_))).collect();
        let columns = read.iter().map(|&c| &table.columns[c]);
        let fields: Vec<Field> = columns.map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable)).collect();
        let expressions = fields.iter().map(|f| Expr::Column(Column::from_name(f.name()))).collect();
        let read_schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        Ok(Self { table, read, read_schema, used_paths: vec![], filter_hint: None, expressions, watermark: None })
    }

    /// True if anything may use the leaf at this path of names, or a part of it. Without any hint everything is used.
    pub fn uses(&self, path: &[&str]) -> bool {
        self.used_paths.is_empty() || self.used_paths.iter().any(|used| used.iter().zip(path).all(|(u, p)| u == p))
    }

    /// The integers that a column must equal one of for a row to be wanted, if the filter hint says so. Without duplicates.
    pub fn wanted_integers(&self, column: &str) -> Option<Vec<i64>> {
        let mut wanted = integers(self.filter_hint.as_ref()?, column, &self.read_schema)?;
        wanted.sort_unstable();
        wanted.dedup();
        Some(wanted)
    }
}

fn integers(filter: &Expr, column: &str, schema: &DFSchema) -> Option<Vec<i64>> {
    let is_column = |expr: &Expr| is_column(expr, column, schema);
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Eq if is_column(left) => Some(vec![integer(right)?]),
            Operator::Eq if is_column(right) => Some(vec![integer(left)?]),
            Operator::And => match (integers(left, column, schema), integers(right, column, schema)) {
                (Some(left), Some(right)) => Some(left.into_iter().filter(|l| right.contains(l)).collect()),
                (one, other) => one.or(other),
            },
            Operator::Or => {
                let mut all = integers(left, column, schema)?;
                all.extend(integers(right, column, schema)?);
                Some(all)
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated && is_column(&list.expr) => list.list.iter().map(integer).collect(),
        _ => None,
    }
}

/// True for the column, also within casts to integers that hold all its values: any other cast may change what is equal.
fn is_column(expr: &Expr, column: &str, schema: &DFSchema) -> bool {
    match expr {
        Expr::Column(found) => found.name == column,
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            let widens = |from: DataType| {
                from.is_signed_integer() && to.is_signed_integer() && from.primitive_width() <= to.primitive_width()
            };
            cast.expr.get_type(schema).is_ok_and(widens) && is_column(&cast.expr, column, schema)
        }
        _ => false,
    }
}

fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::Int8(v) => v.map(i64::from),
            ScalarValue::Int16(v) => v.map(i64::from),
            ScalarValue::Int32(v) => v.map(i64::from),
            ScalarValue::Int64(v) => *v,
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;
    use arrow::datatypes::DataType;
    use datafusion_expr::{cast, col, lit};
    use std::collections::BTreeMap;

    fn scan(filter: Expr) -> ScanSpec {
        let columns = ["kind", "size"].map(|name| crate::Column {
            name: name.into(),
            data_type: DataType::Int32,
            nullable: true,
            kind: ColumnKind::Physical,
        });
        let table = TableDescriptor {
            name: "t".into(),
            columns: columns.into(),
            watermark: None,
            primary_key: vec![],
            partitioned_by: vec![],
            options: BTreeMap::new(),
            position: Position::default(),
        };
        ScanSpec { filter_hint: Some(filter), ..ScanSpec::whole(Arc::new(table)).unwrap() }
    }

    fn wanted(filter: Expr) -> Option<Vec<i64>> {
        scan(filter).wanted_integers("kind")
    }

    #[test]
    fn equalities_are_found() {
        assert_eq!(wanted(col("kind").eq(lit(2))), Some(vec![2]));
        assert_eq!(wanted(lit(2i64).eq(cast(col("kind"), DataType::Int64))), Some(vec![2]));
        assert_eq!(wanted(col("size").gt(lit(1)).and(col("kind").eq(lit(2)))), Some(vec![2]));
        assert_eq!(wanted(col("kind").eq(lit(2)).or(col("kind").eq(lit(0)))), Some(vec![0, 2]));
        assert_eq!(wanted(col("kind").in_list(vec![lit(1), lit(1)], false)), Some(vec![1]));
        assert_eq!(wanted(col("kind").eq(lit(1)).and(col("kind").eq(lit(2)))), Some(vec![]));
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(wanted(col("kind").gt(lit(2))), None);
        assert_eq!(wanted(col("size").eq(lit(2))), None);
        assert_eq!(wanted(col("kind").eq(lit(2)).or(col("size").eq(lit(0)))), None);
        assert_eq!(wanted(col("kind").in_list(vec![lit(1)], true)), None);
        assert_eq!(wanted(col("kind").eq(col("size"))), None);
        // 256 + 2 as a byte may be 2 too, and every number but zero is true.
        assert_eq!(wanted(cast(col("kind"), DataType::Int8).eq(lit(2i8))), None);
        assert_eq!(wanted(cast(cast(col("kind"), DataType::Boolean), DataType::Int32).eq(lit(1))), None);
    }

    #[test]
    fn uses_parts_and_wholes() {
        let mut scan = scan(lit(true));
        assert!(scan.uses(&["kind"]));
        scan.used_paths = vec![vec!["bid".into(), "price".into()], vec!["person".into()]];
        assert!(scan.uses(&["bid"]) && scan.uses(&["bid", "price"]) && scan.uses(&["person", "name"]));
        assert!(!scan.uses(&["bid", "url"]) && !scan.uses(&["auction"]));
    }
}
