use crate::operators::testing::{Fleet, Random, context, rows};
use arrow::array::{Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use streamfleet_logical::{OperatorSpec, UpsertMaterializeSpec};
use streamfleet_types::{Batch, Millis, RowKind};

type Row = (RowKind, i64, Option<String>);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8, true), Field::new("k", DataType::Int64, true)]))
}

fn fleet(batch_mode: bool) -> Fleet {
    let mut context = context(&[schema()], schema());
    context.input_changes = vec![true];
    context.batch_mode = batch_mode;
    let spec = OperatorSpec::UpsertMaterialize(UpsertMaterializeSpec { key: vec![1] });
    Fleet::new(spec, context, vec![vec![1]])
}

fn batch(given: &[Row]) -> Batch {
    let values: StringArray = given.iter().map(|g| g.2.as_deref()).collect();
    let keys = Int64Array::from_iter_values(given.iter().map(|g| g.1));
    let kinds = Int8Array::from_iter_values(given.iter().map(|g| g.0 as i8));
    let records = RecordBatch::try_new(schema(), vec![Arc::new(values), Arc::new(keys)]).unwrap();
    Batch::changelog(records, kinds).unwrap()
}

/// `+U1a` is an update of key 1 to a.
fn parsed(texts: &[&str]) -> Batch {
    let row = |text: &&str| {
        let kind = match &text[..2] {
            "+I" => RowKind::Insert,
            "-U" => RowKind::UpdateBefore,
            "+U" => RowKind::UpdateAfter,
            _ => RowKind::Delete,
        };
        (kind, text[2..3].parse().unwrap(), Some(text[3..].to_owned()))
    };
    batch(&texts.iter().map(row).collect::<Vec<Row>>())
}

fn texts(batches: &[Batch]) -> Vec<String> {
    let all = batches.iter().flat_map(rows);
    all.map(|(kind, row)| format!("{}{row}", kind.short_name())).collect()
}

#[test]
fn the_last_row_of_a_key_counts() {
    let mut fleet = fleet(false);
    let mut gives = |given: &[&str]| texts(&fleet.on_batch(0, &parsed(given)).unwrap());
    assert_eq!(gives(&["+I1a", "+I2b"]), ["+Ia|1", "+Ib|2"]);
    // The new version overtakes the old one's end.
    assert_eq!(gives(&["+U1c"]), ["+Uc|1"]);
    assert!(gives(&["-U1a"]).is_empty());
    // Both ends of an update in one batch are one change, and there and back is none.
    assert_eq!(gives(&["-U1c", "+U1d"]), ["+Ud|1"]);
    assert!(gives(&["-D1d", "+I1d", "-U2b", "+U2x", "-U2x", "+U2b"]).is_empty());
    // The one before comes back when the last one goes.
    assert_eq!(gives(&["+I1e"]), ["+Ue|1"]);
    assert_eq!(gives(&["-D1e", "-D2b"]), ["+Ud|1", "-Db|2"]);
    assert!(gives(&["+I1d", "-D1d"]).is_empty(), "an equal row twice");
    assert_eq!(gives(&["-D1d"]), ["-Dd|1"]);
}

#[test]
fn a_row_that_was_never_given_is_told() {
    let mut fleet = fleet(false);
    fleet.on_batch(0, &parsed(&["+I1a"])).unwrap();
    let error = fleet.on_batch(0, &parsed(&["-D1b"])).unwrap_err().to_string();
    assert!(error.contains("[b, 1]"), "{error}");
}

/// For every key its rows, the last one last.
#[derive(Default)]
struct Model(BTreeMap<i64, Vec<Option<String>>>);

impl Model {
    fn apply(&mut self, (kind, key, value): &Row) {
        let held = self.0.entry(*key).or_default();
        if kind.is_addition() {
            held.push(value.clone());
        } else {
            let at = held.iter().rposition(|v| v == value).unwrap();
            held.remove(at);
        }
    }

    fn visible(&self) -> BTreeMap<i64, String> {
        let last = |v: &Vec<Option<String>>| v.last().map(|v| v.clone().unwrap_or_else(|| "NULL".to_owned()));
        self.0.iter().filter_map(|(k, v)| Some((*k, last(v)?))).collect()
    }
}

/// Applies changes as a table by key does; nothing that changes nothing is given.
fn apply(visible: &mut BTreeMap<i64, String>, batches: &[Batch]) {
    for (kind, row) in batches.iter().flat_map(rows) {
        let (value, key) = row.split_once('|').unwrap();
        let key: i64 = key.parse().unwrap();
        match kind {
            RowKind::Insert => assert_eq!(visible.insert(key, value.to_owned()), None),
            RowKind::UpdateAfter => {
                let before = visible.insert(key, value.to_owned());
                assert!(before.is_some_and(|before| before != value));
            }
            RowKind::Delete => assert_eq!(visible.remove(&key), Some(value.to_owned())),
            RowKind::UpdateBefore => panic!("a table by key has no use for it"),
        }
    }
}

fn random_rows(random: &mut Random, model: &mut Model) -> Vec<Row> {
    let mut given = Vec::new();
    for _ in 0..random.below(12) {
        let key = random.below(5) as i64;
        let held = model.0.get(&key).map_or(0, Vec::len);
        let row = if held > 0 && random.below(2) == 0 {
            let value = model.0[&key][random.below(held as u64) as usize].clone();
            (if random.below(2) == 0 { RowKind::Delete } else { RowKind::UpdateBefore }, key, value)
        } else {
            let value = random.below(4);
            (RowKind::Insert, key, (value > 0).then(|| "x".repeat(value as usize * 9)))
        };
        model.apply(&row);
        given.push(row);
    }
    given
}

#[test]
fn random_changes_and_restarts_give_what_the_model_holds() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (mut fleet, mut model, mut visible) = (fleet(false), Model::default(), BTreeMap::new());
        for step in 0..60 {
            let given = random_rows(&mut random, &mut model);
            if !given.is_empty() {
                let out = fleet.on_batch(0, &batch(&given)).unwrap();
                apply(&mut visible, &out);
            }
            assert_eq!(visible, model.visible(), "seed {seed}, step {step}");
            if random.below(10) == 0 {
                fleet.restart(1 + random.below(3), Millis::MIN);
            }
        }
        let kept: usize = model.0.values().map(Vec::len).sum();
        assert_eq!(fleet.state_rows(), kept, "seed {seed}");
    }
}

#[test]
fn in_batch_mode_only_the_last_rows_are_given() {
    let mut random = Random(7);
    let (mut fleet, mut model) = (fleet(true), Model::default());
    for _ in 0..40 {
        let given = random_rows(&mut random, &mut model);
        assert!(given.is_empty() || fleet.on_batch(0, &batch(&given)).unwrap().is_empty());
    }
    fleet.restart(2, Millis::MIN);
    let mut visible = BTreeMap::new();
    apply(&mut visible, &fleet.on_end());
    assert_eq!(visible, model.visible());
    assert_eq!(fleet.state_rows(), 0);
}
