use crate::operators::testing::{Fleet, context, rows};
use arrow::array::{Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use streamfleet_logical::{ChangelogNormalizeSpec, OperatorSpec};
use streamfleet_types::{Batch, RowKind};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Utf8, true)]))
}

fn fleet(batch_mode: bool) -> Fleet {
    let mut context = context(&[schema()], schema());
    context.input_changes = vec![true];
    context.batch_mode = batch_mode;
    let spec = OperatorSpec::ChangelogNormalize(ChangelogNormalizeSpec { key: vec![0] });
    Fleet::new(spec, context, vec![vec![0]])
}

/// Keys with a value, or none for a deletion.
fn batch(given: &[(i64, Option<&str>)]) -> Batch {
    let keys = Int64Array::from_iter_values(given.iter().map(|g| g.0));
    let values: StringArray = given.iter().map(|g| g.1).collect();
    let kind = |value: Option<&str>| if value.is_some() { RowKind::UpdateAfter } else { RowKind::Delete };
    let kinds = Int8Array::from_iter_values(given.iter().map(|g| kind(g.1) as i8));
    let records = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]).unwrap();
    Batch::changelog(records, kinds).unwrap()
}

fn texts(batches: &[Batch]) -> Vec<String> {
    let all = batches.iter().flat_map(rows);
    all.map(|(kind, row)| format!("{}{row}", kind.short_name())).collect()
}

#[test]
fn upserts_become_a_changelog() {
    let mut fleet = fleet(false);
    let given = batch(&[(1, Some("a")), (2, Some("b")), (1, Some("a")), (1, Some("c")), (3, None), (2, None)]);
    let out = fleet.on_batch(0, &given).unwrap();
    assert_eq!(texts(&out), ["+I1|a", "+I2|b", "-U1|a", "+U1|c", "-D2|b"]);
    let out =
        fleet.on_batch(0, &batch(&[(2, Some("d")), (1, Some("c")), (1, None), (1, None), (1, Some("e"))])).unwrap();
    assert_eq!(texts(&out), ["+I2|d", "-D1|c", "+I1|e"]);
    assert!(fleet.on_batch(0, &batch(&[(1, Some("e"))])).unwrap().is_empty());
}

#[test]
fn in_batch_mode_only_the_last_rows_are_given() {
    let mut fleet = fleet(true);
    let given = batch(&[(1, Some("a")), (2, Some("b")), (1, Some("c")), (2, None), (3, Some("d"))]);
    assert!(fleet.on_batch(0, &given).unwrap().is_empty());
    let mut out = texts(&fleet.on_end());
    out.sort();
    assert_eq!(out, ["+I1|c", "+I3|d"]);
}
