//! A measurement, not a test: what librdkafka with the same JSON decoder and encoder reaches alone, copying a topic on one
//! thread. `e2e/oracle/kafka_speed.py` compares the whole job with it.

use super::columns::Columns;
use super::decode::BlockDecoder;
use super::encode::RowEncoder;
use super::native::config;
use super::options::{ReadOptions, WriteOptions};
use crate::kafka::client::{RecordBlock, TopicPartition};
use crate::testing::table;
use arrow::datatypes::{DataType, TimeUnit};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

#[test]
#[ignore = "a measurement: e2e/oracle/kafka_speed.py runs it"]
fn raw_copy() {
    let var = |name: &str| std::env::var(name).expect("e2e/oracle/kafka_speed.py sets it");
    let (brokers, from, to) = (var("STREAMFLEET_TEST_KAFKA"), var("RAW_COPY_FROM"), var("RAW_COPY_TO"));
    let records: usize = var("RAW_COPY_RECORDS").parse().expect("a number");
    let columns = [
        ("id", DataType::Int64),
        ("k", DataType::Int64),
        ("price", DataType::Float64),
        ("note", DataType::Utf8),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ];
    let options = |topic: &'static str| {
        vec![("format", "json"), ("properties.bootstrap.servers", topic), ("scan.startup.mode", "earliest-offset")]
    };
    let described = |topic: &str| {
        let mut described = table(&columns, &options("b"));
        described.options.insert("topic".to_owned(), topic.to_owned());
        described.options.insert("properties.bootstrap.servers".to_owned(), brokers.clone());
        described
    };
    let (input, output) = (described(&from), described(&to));
    let mut decoder = BlockDecoder::new(&input, &Columns::of(&input, false).unwrap(), &[0, 1, 2, 3, 4], false).unwrap();
    let mut encoder = RowEncoder::new(&output, false).unwrap();
    let consumer: BaseConsumer = config(&ReadOptions::of(&input).unwrap().properties).create().unwrap();
    let producer: BaseProducer = config(&WriteOptions::of(&output).unwrap().properties)
        .set("delivery.report.only.error", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(&from), Duration::from_secs(10)).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset(&from, partition.id(), Offset::Beginning).unwrap();
    }
    let begin = Instant::now();
    consumer.assign(&list).unwrap();
    let mut copied = 0;
    let mut block = RecordBlock::new(TopicPartition { topic: from.as_str().into(), partition: 0 });
    while copied < records {
        if let Some(message) = consumer.poll(Duration::from_millis(10)) {
            let message = message.unwrap();
            block.offsets.push(message.offset());
            block.timestamps.push(message.timestamp().to_millis().unwrap_or(-1));
            block.values.push(message.payload());
        }
        if block.offsets.len() < 8192 && copied + block.offsets.len() < records {
            continue;
        }
        let full = std::mem::replace(
            &mut block,
            RecordBlock::new(TopicPartition { topic: from.as_str().into(), partition: 0 }),
        );
        copied += full.offsets.len();
        let rows = decoder.decode(&full).unwrap().batch.expect("good records");
        let out = encoder.encode(&rows).unwrap();
        for index in 0..out.len() {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&to).payload(out.values.get(index).unwrap());
            while let Err((_, back)) = producer.send(record) {
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    println!("raw copy: {copied} records in {:.3} s", begin.elapsed().as_secs_f64());
}
