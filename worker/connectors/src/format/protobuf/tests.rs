use crate::format::{Format, Layout, MessageBuffer};
use crate::testing::{rows, table};
use arrow::array::{Array, AsArray, RecordBatch, make_array, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use prost_reflect::prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, FileOptions, MessageOptions, OneofDescriptorProto,
};
use std::sync::Arc;
use streamfleet_types::Batch;

fn field(name: &str, number: i32, of: Type, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(of.into()),
        type_name: (!type_name.is_empty()).then(|| type_name.to_owned()),
        ..FieldDescriptorProto::default()
    }
}

fn repeated(field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field }
}

/// ```proto
/// syntax = "proto3"; package shop;
/// message Order {
///   int64 id = 1; optional int32 count = 2; Status status = 3; Customer customer = 4; repeated uint32 sizes = 5;
///   map<string, Customer> by = 6; oneof pay { string card = 7; bytes voucher = 8; } repeated string tags = 9; double price = 10;
///   uint64 large = 11;
///   message Customer { string name = 1; Order last = 2; } enum Status { OPEN = 0; PAID = 5; }
/// }
/// ```
fn order() -> FileDescriptorProto {
    let customer = DescriptorProto {
        name: Some("Customer".to_owned()),
        field: vec![field("name", 1, Type::String, ""), field("last", 2, Type::Message, ".shop.Order")],
        ..DescriptorProto::default()
    };
    let entry = DescriptorProto {
        name: Some("ByEntry".to_owned()),
        field: vec![field("key", 1, Type::String, ""), field("value", 2, Type::Message, ".shop.Order.Customer")],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    };
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    };
    let status = EnumDescriptorProto {
        name: Some("Status".to_owned()),
        value: vec![value("OPEN", 0), value("PAID", 5)],
        ..EnumDescriptorProto::default()
    };
    let in_oneof = |field: FieldDescriptorProto| FieldDescriptorProto { oneof_index: Some(0), ..field };
    let count = FieldDescriptorProto {
        proto3_optional: Some(true),
        oneof_index: Some(1),
        ..field("count", 2, Type::Int32, "")
    };
    let oneof = |name: &str| OneofDescriptorProto { name: Some(name.to_owned()), ..OneofDescriptorProto::default() };
    let order = DescriptorProto {
        name: Some("Order".to_owned()),
        field: vec![
            field("id", 1, Type::Int64, ""),
            count,
            field("status", 3, Type::Enum, ".shop.Order.Status"),
            field("customer", 4, Type::Message, ".shop.Order.Customer"),
            repeated(field("sizes", 5, Type::Uint32, "")),
            repeated(field("by", 6, Type::Message, ".shop.Order.ByEntry")),
            in_oneof(field("card", 7, Type::String, "")),
            in_oneof(field("voucher", 8, Type::Bytes, "")),
            repeated(field("tags", 9, Type::String, "")),
            field("price", 10, Type::Double, ""),
            field("large", 11, Type::Uint64, ""),
        ],
        nested_type: vec![customer, entry],
        enum_type: vec![status],
        oneof_decl: vec![oneof("pay"), oneof("_count")],
        ..DescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("dir/my_order.proto".to_owned()),
        package: Some("shop".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![order],
        ..FileDescriptorProto::default()
    }
}

struct Descriptors {
    _folder: tempfile::TempDir,
    path: String,
}

fn descriptors(file: FileDescriptorProto) -> Descriptors {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("order.desc");
    std::fs::write(&path, FileDescriptorSet { file: vec![file] }.encode_to_vec()).expect("written");
    Descriptors { path: path.to_str().expect("a text").to_owned(), _folder: folder }
}

fn format(path: &str, class: &str, more: &[(&str, &str)]) -> Result<Format, String> {
    let mut options =
        vec![("format", "protobuf"), ("protobuf.descriptor-file", path), ("protobuf.message-class-name", class)];
    options.extend(more);
    Format::of(&table(&[], &options)).map_err(|error| error.to_string())
}

fn columns(columns: &[(&str, DataType)]) -> Fields {
    columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect()
}

fn customer() -> DataType {
    DataType::Struct(columns(&[("name", DataType::Utf8)]))
}

fn all() -> Fields {
    let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", customer(), true)];
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false);
    let list = |of: DataType| DataType::List(Arc::new(Field::new("element", of, true)));
    columns(&[
        ("id", DataType::Int64),
        ("count", DataType::Int32),
        ("status", DataType::Utf8),
        ("customer", customer()),
        ("sizes", list(DataType::Int64)),
        ("by", map),
        ("card", DataType::Utf8),
        ("voucher", DataType::Binary),
        ("tags", list(DataType::Utf8)),
        ("price", DataType::Float64),
    ])
}

/// The rows, their texts, and what is wrong with messages.
fn decode(format: &Format, columns: &Fields, messages: &[Vec<u8>]) -> (Option<RecordBatch>, Vec<String>, Vec<String>) {
    let schema = Arc::new(Schema::new(columns.clone()));
    let mut decoder = format.message_decoder("t", Arc::clone(&schema), &Layout::whole(&schema)).expect("messages");
    messages.iter().for_each(|message| decoder.take(message));
    let decoded = decoder.finish().expect("decodes");
    let bad = decoded.bad.into_iter().map(|b| format!("{} {}", b.number, b.reason)).collect();
    let texts = decoded.records.as_ref().map(rows).unwrap_or_default();
    (decoded.records, texts, bad)
}

/// One order, by hand.
fn message() -> Vec<u8> {
    [
        &[0x08, 7][..],
        &[0x10, 0],
        &[0x18, 5],
        &[0x22, 5, 0x0a, 3, b'A', b'd', b'a'],
        // Packed, and then one more that is not.
        &[0x2a, 2, 1, 2],
        &[0x28, 3],
        &[0x32, 8, 0x0a, 1, b'z', 0x12, 3, 0x0a, 1, b'Z'],
        &[0x32, 8, 0x0a, 1, b'a', 0x12, 3, 0x0a, 1, b'A'],
        // The second of the two choices counts.
        &[0x3a, 1, b'c'],
        &[0x42, 1, 0xff],
        &[0x4a, 0],
        &[0x51, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f],
        // A field that the message does not have.
        &[0xa0, 0x06, 1],
    ]
    .concat()
}

#[test]
fn a_message_is_read_with_its_defaults_or_without() {
    let descriptors = descriptors(order());
    let read = |more: &[(&str, &str)], messages: &[Vec<u8>]| {
        decode(&format(&descriptors.path, "shop.Order", more).expect("sound"), &all(), messages)
    };
    let (_, rows, bad) = read(&[], &[message(), vec![]]);
    assert_eq!(bad, [""; 0]);
    assert_eq!(
        rows,
        [
            "7|0|PAID|{name: Ada}|[1, 2, 3]|{a: {name: A}, z: {name: Z}}|NULL|ff|[]|0.5",
            "0|NULL|OPEN|NULL|NULL|NULL|NULL|NULL|NULL|0.0"
        ]
    );
    let (_, rows, _) = read(&[("protobuf.read-default-values", "true")], &[vec![]]);
    assert_eq!(rows, ["0|0|OPEN|{name: }|[]|{}||||[]|0.0".replace("||||", "|||")]);
    // What a table does not name is passed over.
    let some = columns(&[("price", DataType::Float64), ("status", DataType::Int64)]);
    let (_, rows, _) = decode(&format(&descriptors.path, "shop.Order", &[]).expect("sound"), &some, &[message()]);
    assert_eq!(rows, ["0.5|5"]);
}

#[test]
fn what_was_written_is_read() {
    let descriptors = descriptors(order());
    let format =
        format(&descriptors.path, "shop.Order", &[("protobuf.write-null-string-literal", "n/a")]).expect("sound");
    let (records, texts, _) = decode(&format, &all(), &[message(), vec![]]);
    let records = records.expect("rows");
    let mut encoder = format.message_encoder("t", &records.schema()).expect("messages");
    let mut out = MessageBuffer::default();
    encoder.encode(&Batch::inserts(records.clone()), &mut out).expect("encodes");
    assert_eq!(out.get(1), [0u8; 0], "NULL is what is not there");
    let messages: Vec<Vec<u8>> = (0..2).map(|i| out.get(i).to_vec()).collect();
    assert_eq!(decode(&format, &all(), &messages).1, texts);
    // Lists hold no NULL.
    let tags = columns(&[("tags", all()[8].data_type().clone())]);
    let list = arrow::array::ListArray::new(
        Arc::new(Field::new("element", DataType::Utf8, true)),
        arrow::buffer::OffsetBuffer::from_lengths([2]),
        Arc::new(arrow::array::StringArray::from(vec![Some("x"), None])),
        None,
    );
    let batch = RecordBatch::try_new(Arc::new(Schema::new(tags.clone())), vec![Arc::new(list)]).expect("fits");
    let mut out = MessageBuffer::default();
    let mut encoder = format.message_encoder("t", &batch.schema()).expect("messages");
    encoder.encode(&Batch::inserts(batch), &mut out).expect("encodes");
    assert_eq!(decode(&format, &tags, &[out.get(0).to_vec()]).1, ["[x, n/a]"]);
}

#[test]
fn values_that_a_field_or_column_does_not_take_are_told() {
    let descriptors = descriptors(order());
    let format = |more: &[(&str, &str)]| format(&descriptors.path, "shop.Order", more).expect("sound");
    let bad = |columns: &Fields, message: &[u8]| decode(&format(&[]), columns, &[message.to_vec()]).2.pop();
    let status = columns(&[("status", DataType::Utf8)]);
    let sizes = columns(&[("sizes", DataType::List(Arc::new(Field::new("element", DataType::Int32, true))))]);
    let reason = bad(&sizes, &[0x28, 0xff, 0xff, 0xff, 0xff, 0x0f]).expect("too large");
    assert!(reason.contains("`4294967295` is no INT"), "{reason}");
    let large = columns(&[("large", DataType::Int64)]);
    let most = [&[0x58][..], &[0xff; 9], &[1]].concat();
    assert!(bad(&large, &most).expect("too large").contains("`18446744073709551615` is no BIGINT"));
    for broken in [&[0x08][..], &[0x22, 9, 0x0a], &[0x0a, 0xff], &[0x07]] {
        let reason = bad(&status, broken).expect("no message");
        assert!(reason.contains("it is no message shop.Order: "), "{reason}");
    }
    assert!(!format(&[]).ignores_errors() && format(&[("protobuf.ignore-parse-errors", "true")]).ignores_errors());
    let written = |column: &str, data_type: DataType, array: arrow::array::ArrayRef| {
        let schema = Arc::new(Schema::new(columns(&[(column, data_type)])));
        let batch = RecordBatch::try_new(schema, vec![array]).expect("fits");
        let mut encoder = format(&[]).message_encoder("t", &batch.schema()).expect("messages");
        encoder.encode(&Batch::inserts(batch), &mut MessageBuffer::default()).map_err(|error| error.to_string())
    };
    let name = Arc::new(arrow::array::StringArray::from(vec!["LOST"]));
    let error = written("status", DataType::Utf8, name).expect_err("no such status");
    assert!(error.starts_with("table t: field shop.Order.status does not take `LOST`"), "{error}");
    let minus = Arc::new(arrow::array::Int64Array::from(vec![-1]));
    let error = written("large", DataType::Int64, minus).expect_err("no sign there");
    assert!(error.contains("shop.Order.large does not take -1"), "{error}");
}

#[test]
fn columns_and_fields_must_go_together() {
    let descriptors = descriptors(order());
    let format = format(&descriptors.path, "shop.Order", &[]).expect("sound");
    let error = |name: &str, data_type: DataType| {
        let schema = Arc::new(Schema::new(columns(&[(name, data_type)])));
        let read = format.message_decoder("t", Arc::clone(&schema), &Layout::whole(&schema));
        let read = read.err().expect("refused").to_string();
        let written = format.message_encoder("t", &schema).err().expect("refused").to_string();
        assert!(read.starts_with("table t: ") && read == written, "{read}\n{written}");
        read
    };
    assert!(error("nobody", DataType::Int64).contains("message shop.Order has no field nobody; it has id, count,"));
    assert!(error("id", DataType::Int32).contains("field shop.Order.id of type int64 is no INT"));
    assert!(error("sizes", DataType::Int64).contains("of type repeated uint32 is no BIGINT"));
    assert!(error("customer", DataType::Utf8).contains("of type shop.Order.Customer is no STRING"));
    assert!(error("by", DataType::Utf8).contains("of type map is no STRING"));
    assert!(error("price", DataType::Decimal128(3, 1)).contains("of type double"));
    // A message within itself is as deep as its column.
    let inner = DataType::Struct(columns(&[("last", DataType::Struct(columns(&[("id", DataType::Int64)])))]));
    let deep = columns(&[("customer", inner)]);
    let (_, rows, _) = decode(&format, &deep, &[vec![0x22, 4, 0x12, 2, 0x08, 9]]);
    assert_eq!(rows, ["{last: {id: 9}}"]);
}

#[test]
fn messages_are_found_by_the_names_of_their_java_classes() {
    let found = |options: Option<FileOptions>, class: &str| {
        let descriptors = descriptors(FileDescriptorProto { options, ..order() });
        format(&descriptors.path, class, &[]).map(|_| ())
    };
    let java = |outer: Option<&str>, several: bool| {
        Some(FileOptions {
            java_package: Some("com.acme".to_owned()),
            java_outer_classname: outer.map(str::to_owned),
            java_multiple_files: Some(several),
            ..FileOptions::default()
        })
    };
    assert_eq!(found(None, "shop.Order.Customer"), Ok(()));
    assert_eq!(found(None, "shop.MyOrder$Order"), Ok(()));
    assert_eq!(found(java(Some("Out"), false), "com.acme.Out.Order$Customer"), Ok(()));
    assert_eq!(found(java(None, true), "com.acme.Order"), Ok(()));
    let error = found(java(None, true), "com.acme.MyOrder$Order").expect_err("no such class");
    assert!(error.contains("there is no such message; the file has shop.Order, shop.Order.Customer"), "{error}");
    assert!(format("/none.desc", "shop.Order", &[]).expect_err("no file").contains("/none.desc: "));
    let edition = descriptors(FileDescriptorProto { syntax: Some("editions".to_owned()), ..order() });
    let error = format(&edition.path, "shop.Order", &[]).expect_err("an edition");
    assert!(error.contains("dir/my_order.proto is written in an edition"), "{error}");
    assert!(format("/dev/null", "shop.Order", &[]).expect_err("nothing").contains("it is empty"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x");
    std::fs::write(&path, b"message Order {}").expect("written");
    let error = format(path.to_str().expect("a text"), "shop.Order", &[]).expect_err("the source, not descriptors");
    assert!(error.contains("--descriptor_set_out"), "{error}");
}

#[test]
fn required_fields_need_a_value() {
    let mut file = order();
    file.syntax = None;
    file.message_type[0].field[1] =
        FieldDescriptorProto { label: Some(Label::Required.into()), ..field("count", 2, Type::Int32, "") };
    file.message_type[0].oneof_decl.pop();
    let descriptors = descriptors(file);
    let format = format(&descriptors.path, "shop.Order", &[]).expect("sound");
    let schema = Arc::new(Schema::new(columns(&[("count", DataType::Int32)])));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![new_null_array(&DataType::Int32, 1)]).expect("fits");
    let mut encoder = format.message_encoder("t", &schema).expect("messages");
    let error = encoder.encode(&Batch::inserts(batch), &mut MessageBuffer::default()).expect_err("it is required");
    let error = error.to_string();
    assert!(error.starts_with("table t: field shop.Order.count is `required`, but column count is NULL"), "{error}");
    // In proto2 every field can be absent.
    let (records, _, _) = decode(&format, schema.fields(), &[vec![], vec![0x10, 4]]);
    let read = make_array(records.expect("rows").column(0).to_data());
    assert_eq!(read.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [None, Some(4)]);
}

/// The file in proto2, whose enums are closed, with an enum in a list and in a map.
fn closed_order() -> FileDescriptorProto {
    let mut file = order();
    file.syntax = None;
    let order = &mut file.message_type[0];
    order.oneof_decl.pop();
    order.field[1] = field("count", 2, Type::Int32, "");
    order.field.push(repeated(field("past", 12, Type::Enum, ".shop.Order.Status")));
    order.field.push(repeated(field("of", 13, Type::Message, ".shop.Order.OfEntry")));
    order.nested_type.push(DescriptorProto {
        name: Some("OfEntry".to_owned()),
        field: vec![field("key", 1, Type::String, ""), field("value", 2, Type::Enum, ".shop.Order.Status")],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    });
    file
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", data_type, true)))
}

#[test]
fn a_number_that_an_open_enum_does_not_name_is_unrecognized() {
    let descriptors = descriptors(order());
    let format = format(&descriptors.path, "shop.Order", &[]).expect("sound");
    let read = |data_type: DataType| {
        let (_, rows, bad) = decode(&format, &columns(&[("status", data_type)]), &[vec![0x18, 9], vec![0x18, 5]]);
        assert_eq!(bad, [""; 0]);
        rows
    };
    assert_eq!(read(DataType::Utf8), ["UNRECOGNIZED", "PAID"]);
    assert_eq!(read(DataType::Int32), ["9", "5"]);
}

#[test]
fn a_number_that_a_closed_enum_does_not_name_is_a_field_that_nobody_knows() {
    let descriptors = descriptors(closed_order());
    let format = format(&descriptors.path, "shop.Order", &[]).expect("sound");
    let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    let of = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false);
    let columns = columns(&[("status", DataType::Utf8), ("past", list_of(DataType::Utf8)), ("of", of)]);
    let message = [
        // The number without a name does not take the place of the one before it.
        &[0x18, 5, 0x18, 9][..],
        // In a list, packed and not.
        &[0x60, 5, 0x60, 7, 0x62, 3, 0, 6, 5],
        // An entry is known as a whole.
        &[0x6a, 5, 0x0a, 1, b'a', 0x10, 9, 0x6a, 5, 0x0a, 1, b'b', 0x10, 5],
    ]
    .concat();
    let (_, rows, bad) = decode(&format, &columns, &[message, vec![0x18, 9]]);
    assert_eq!(bad, [""; 0]);
    assert_eq!(rows, ["PAID|[PAID, OPEN, PAID]|{b: PAID}", "NULL|NULL|NULL"]);
}

#[test]
fn a_value_of_another_wire_type_is_a_field_that_nobody_knows() {
    let message = [
        // A text where a number is expected, and the number.
        &[0x0a, 1, b'x', 0x08, 7][..],
        // A number where a text, a message and a map are.
        &[0x48, 1, 0x20, 1, 0x30, 0],
        // A text within a message within a message, where a number is.
        &[0x22, 7, 0x0a, 1, b'n', 0x12, 2, 0x10, 3],
        &[0x22, 6, 0x12, 4, 0x0a, 0, 0x10, 4],
        // A list of numbers as a group of its own.
        &[0x2b, 0x08, 1, 0x2c, 0x28, 9],
    ]
    .concat();
    let inner = DataType::Struct(columns(&[("id", DataType::Int64), ("count", DataType::Int32)]));
    let customer = DataType::Struct(columns(&[("name", DataType::Utf8), ("last", inner)]));
    let columns = columns(&[
        ("id", DataType::Int64),
        ("customer", customer),
        ("sizes", list_of(DataType::Int64)),
        ("by", all()[5].data_type().clone()),
        ("tags", list_of(DataType::Utf8)),
    ]);
    // Without a map or a closed enum somewhere, messages are looked through only if they cannot be read.
    let mut plain = order();
    plain.message_type[0].field.remove(5);
    plain.message_type[0].nested_type.pop();
    for (file, columns) in [
        (order(), columns.clone()),
        (closed_order(), columns.clone()),
        (plain, {
            let some = columns.iter().filter(|column| column.name() != "by");
            some.cloned().collect()
        }),
    ] {
        let has_map = columns.len() == 5;
        let in_proto2 = file.syntax.is_none();
        let descriptors = descriptors(file);
        let format = format(&descriptors.path, "shop.Order", &[]).expect("sound");
        let (_, rows, bad) = decode(&format, &columns, std::slice::from_ref(&message));
        assert_eq!(bad, [""; 0]);
        let id = if in_proto2 { "NULL" } else { "0" };
        let by = if has_map { "|NULL" } else { "" };
        assert_eq!(rows, [format!("7|{{name: n, last: {{id: {id}, count: 4}}}}|[9]{by}|NULL")]);
        // What is no message at all is none still.
        let (_, _, bad) = decode(&format, &columns, &[vec![0x0a, 1, b'x', 0x08]]);
        assert!(bad.len() == 1 && bad[0].contains("it is no message shop.Order: "), "{bad:?}");
    }
}
