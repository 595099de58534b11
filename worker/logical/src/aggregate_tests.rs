use super::*;
use arrow::datatypes::TimeUnit;

fn check(function: AggregateFunction, argument: Option<DataType>, input_changes: bool) -> Result<(), String> {
    let call = AggregateCall {
        function,
        argument: argument.as_ref().map(|_| 0),
        filter: None,
        distinct: false,
        result: DataType::Int64,
        name: "a".to_owned(),
    };
    supported(&call, argument.as_ref(), input_changes).map_err(|e| e.to_string())
}

#[test]
fn says_what_is_refused_and_why() {
    use AggregateFunction as F;
    assert_eq!(check(F::Count, None, true), Ok(()));
    assert_eq!(check(F::Sum, None, false), Err("SUM of *".to_owned()));
    assert_eq!(check(F::Sum, Some(DataType::Utf8), false), Err("SUM of Utf8".to_owned()));
    assert_eq!(check(F::Avg, Some(DataType::Date32), false), Err("AVG of Date32".to_owned()));
    assert_eq!(check(F::Max, Some(DataType::Binary), false), Err("MAX of Binary".to_owned()));
    for changes in [false, true] {
        for argument in [
            DataType::Int32,
            DataType::Decimal128(10, 2),
            DataType::Float64,
            DataType::Utf8,
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Millisecond, None),
        ] {
            assert_eq!(check(F::Min, Some(argument.clone()), changes), Ok(()));
            assert_eq!(check(F::FirstValue, Some(argument), changes).is_err(), changes);
        }
    }
    let refused = check(F::LastValue, Some(DataType::Int64), true).expect_err("it takes rows back");
    assert!(refused.starts_with("LAST_VALUE over an input with updates or deletions"));
}
