use super::super::tests::columns as all_columns;
use super::*;
use crate::testing::scan;
use arrow::array::{Array, AsArray, Int64Array, StringArray, StructArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};

const EVENTS: u64 = 500_000;

fn columns_of(spec: &ScanSpec) -> Columns {
    let options = Arc::new(Options::of(&spec.table).unwrap());
    Columns::new(spec, &options).unwrap()
}

/// The records of one kind among the first events, without NULLs.
fn records(kind: Kind) -> StructArray {
    let mut columns = columns_of(&scan(&all_columns(), &[]));
    columns.wanted = Kind::ALL.map(|other| other == kind);
    let batch = columns.batch(0, EVENTS).unwrap();
    assert_eq!(batch.column(1 + kind as usize).null_count(), 0);
    batch.column(1 + kind as usize).as_struct().clone()
}

fn integers<'a>(records: &'a StructArray, name: &str) -> &'a Int64Array {
    records.column_by_name(name).unwrap().as_primitive::<Int64Type>()
}

fn strings<'a>(records: &'a StructArray, name: &str) -> &'a StringArray {
    records.column_by_name(name).unwrap().as_string()
}

fn times(records: &StructArray, name: &str) -> Vec<i64> {
    records.column_by_name(name).unwrap().as_primitive::<TimestampMillisecondType>().values().to_vec()
}

fn share(values: impl Iterator<Item = bool>) -> f64 {
    let values: Vec<bool> = values.collect();
    values.iter().filter(|v| **v).count() as f64 / values.len() as f64
}

fn mean_bytes(records: &StructArray, fields: &[&str]) -> f64 {
    let bytes: usize = fields.iter().map(|field| strings(records, field).value_data().len()).sum();
    bytes as f64 / records.len() as f64
}

fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not near {expected}");
}

#[test]
fn bids_are_as_published() {
    let bids = records(Kind::Bid);
    assert_eq!(bids.len() as u64, EVENTS / 50 * 46);
    let newest = |row: usize, per_epoch: i64| (row as i64 / 46 + 1) * per_epoch - 1;
    let auctions = integers(&bids, "auction").values();
    let hot = |row: usize| newest(row, 3) / 100 * 100 + 1000;
    // The hot one may also be chosen by chance.
    assert_near(share(auctions.iter().enumerate().map(|(row, id)| *id == hot(row))), 0.5, 0.01);
    assert!(auctions.iter().enumerate().all(|(row, id)| {
        let newest = newest(row, 3);
        *id == hot(row) || ((newest - 100).max(0) + 1000..=newest + 10 + 1000).contains(id)
    }));
    let bidders = integers(&bids, "bidder").values();
    let hot = |row: usize| newest(row, 1) / 100 * 100 + 1001;
    assert_near(share(bidders.iter().enumerate().map(|(row, id)| *id == hot(row))), 0.75, 0.01);
    let active = |row: usize| (newest(row, 1) - 999).max(0) + 1000..=newest(row, 1) + 10 + 1000;
    assert!(bidders.iter().enumerate().all(|(row, id)| *id == hot(row) || active(row).contains(id)));
    // Evenly over the logarithm, from 100 to 100,000,000.
    let prices = integers(&bids, "price").values();
    for decade in 2..8 {
        let range = 10i64.pow(decade)..10i64.pow(decade + 1);
        assert_near(share(prices.iter().map(|p| range.contains(p))), 1.0 / 6.0, 0.01);
    }
    assert!(prices.iter().all(|p| (100..=100_000_000).contains(p)));
    assert_near(mean_bytes(&bids, &["extra"]) + 32.0, 100.0, 1.0);
}

#[test]
fn channels_are_as_published() {
    let bids = records(Kind::Bid);
    let (channels, urls) = (strings(&bids, "channel"), strings(&bids, "url"));
    let of = |name: &str| share(channels.iter().flatten().map(|c| c == name));
    for hot in ["Google", "Facebook", "Baidu", "Apple"] {
        assert_near(of(hot), 0.125, 0.01);
    }
    assert_near(of("channel-0") + of("channel-9999"), 0.0001, 0.00008);
    let cold: Vec<(&str, &str)> =
        channels.iter().flatten().zip(urls.iter().flatten()).filter(|(c, _)| c.starts_with("channel-")).collect();
    assert_near(share(cold.iter().map(|(_, url)| url.contains("&channel_id="))), 0.9, 0.02);
    assert!(urls.iter().flatten().all(|url| {
        let parts: Vec<&str> = url.split('/').collect();
        parts.len() == 7
            && url.starts_with("https://www.nexmark.com/")
            && parts[3..6].iter().all(|p| matches!(p.len(), 3 | 4))
            && parts[6].starts_with("item.htm?query=1")
    }));
    // A channel has one address.
    let mut addresses = std::collections::HashMap::new();
    assert!(cold.iter().all(|(channel, url)| *addresses.entry(channel).or_insert(url) == url));
    let id = (5_i32.reverse_bits().wrapping_abs()).to_string();
    assert!(addresses.get(&"channel-5").is_some_and(|url| !url.contains('&') || url.ends_with(&id)));
}

#[test]
fn auctions_are_as_published() {
    let auctions = records(Kind::Auction);
    assert!(integers(&auctions, "id").values().iter().copied().eq(1000..1000 + auctions.len() as i64));
    let sellers = integers(&auctions, "seller").values();
    let newest = |row: usize| (row / 3) as i64;
    assert_near(share(sellers.iter().enumerate().map(|(row, id)| *id == newest(row) / 100 * 100 + 1000)), 0.75, 0.01);
    assert!(sellers.iter().enumerate().all(|(row, id)| (1000..=newest(row) + 1010).contains(id)));
    for category in 10..15 {
        assert_near(share(integers(&auctions, "category").values().iter().map(|c| *c == category)), 0.2, 0.02);
    }
    let (initial, reserve) = (integers(&auctions, "initialBid"), integers(&auctions, "reserve"));
    assert!(initial.values().iter().zip(reserve.values()).all(|(i, r)| *r >= i + 100));
    assert_near(mean_bytes(&auctions, &["itemName", "description", "extra"]) + 48.0, 500.0, 3.0);
    assert_near(mean_bytes(&auctions, &["itemName"]), 11.0, 0.5);
    // 100 auctions are open on average: 100 * 50 / 3 events of a tenth of a millisecond.
    let lengths: Vec<i64> =
        times(&auctions, "expires").iter().zip(times(&auctions, "dateTime")).map(|(e, b)| e - b).collect();
    assert!(lengths.iter().all(|l| (1..=335).contains(l)));
    assert_near(lengths.iter().sum::<i64>() as f64 / lengths.len() as f64, 167.0, 3.0);
}

#[test]
fn people_are_as_published() {
    let people = records(Kind::Person);
    assert!(integers(&people, "id").values().iter().copied().eq(1000..1000 + people.len() as i64));
    let text = ["name", "emailAddress", "creditCard", "city", "state", "extra"];
    assert_near(mean_bytes(&people, &text) + 8.0, 200.0, 1.5);
    assert!(strings(&people, "creditCard").iter().flatten().all(|card| {
        card.len() == 19 && card.split(' ').all(|group| group.len() == 4 && group.bytes().all(|b| b.is_ascii_digit()))
    }));
    assert!(strings(&people, "emailAddress").iter().flatten().all(|mail| mail.contains('@') && mail.ends_with(".com")));
    for state in ["AZ", "CA", "ID", "OR", "WA", "WY"] {
        assert_near(share(strings(&people, "state").iter().flatten().map(|s| s == state)), 1.0 / 6.0, 0.02);
    }
    assert!(strings(&people, "name").iter().flatten().any(|name| name == "Vicky Noris"));
}

#[test]
fn leaving_out_what_is_not_wanted_changes_nothing_else() {
    let mut spec = scan(&all_columns(), &[]);
    let whole = columns_of(&spec).batch(100, 5_000).unwrap();
    let bids: arrow::array::BooleanArray =
        whole.column(0).as_primitive::<Int32Type>().iter().map(|kind| Some(kind == Some(2))).collect();
    let expected = filter_record_batch(&whole, &bids).unwrap();
    spec.used_paths = [["event_type", ""], ["bid", "url"], ["bid", "price"]]
        .map(|path| path.iter().filter(|p| !p.is_empty()).map(|p| (*p).to_owned()).collect())
        .into();
    let mut columns = columns_of(&spec);
    columns.wanted = [false, false, true];
    let found = columns.batch(100, 5_000).unwrap();
    assert_eq!(found.column(0), expected.column(0));
    let (found, expected) = (found.column(3).as_struct(), expected.column(3).as_struct());
    for (index, field) in expected.fields().iter().enumerate() {
        let used = matches!(field.name().as_str(), "url" | "price");
        if used {
            assert_eq!(found.column(index), expected.column(index), "{}", field.name());
        } else {
            assert_eq!(found.column(index).null_count(), expected.len(), "{}", field.name());
        }
    }
}

#[test]
fn blocks_may_be_cut_anywhere() {
    let mut columns = columns_of(&scan(&all_columns(), &[]));
    let whole = columns.batch(0, 300).unwrap();
    for (first, events) in [(0, 100), (100, 30), (130, 1), (131, 169), (130, 170)] {
        assert_eq!(columns.batch(first, events).unwrap(), whole.slice(first as usize, events as usize));
    }
}

#[test]
fn a_row_is_null_but_where_it_belongs() {
    let batch = columns_of(&scan(&all_columns(), &[])).batch(0, 100).unwrap();
    let kinds = batch.column(0).as_primitive::<Int32Type>();
    for kind in Kind::ALL {
        let records = batch.column(1 + kind as usize).as_struct();
        for row in 0..100 {
            let here = kinds.value(row) == kind as i32;
            assert_eq!(records.is_valid(row), here);
            assert!(records.columns().iter().all(|field| field.is_valid(row) == here));
        }
    }
}
