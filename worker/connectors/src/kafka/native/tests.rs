//! The real clients against brokers of our own making, which do at once what real ones do rarely.

use super::NativeCluster;
use super::reach::Reach;
use crate::inbox::Inbox;
use crate::kafka::client::{
    Cluster, ConsumerCommand, ConsumerEvent, ConsumerSettings, MaybeMessages, OutgoingBlock, PartitionLag, Partitioner,
    ProducerCommand, ProducerEvent, ProducerSettings, Properties, TopicPartition, Topics,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const METADATA_VERSION: i16 = 9;

/// A broker that knows one topic and answers nothing but what it is; it may leave itself out of the cluster's brokers. Who
/// logs in may do so whatever they show, or whatever they show is refused.
struct Broker {
    port: u16,
    is_listed: Arc<AtomicBool>,
    /// What those that log in have shown.
    shown: Receiver<Bytes>,
}

impl Broker {
    fn start() -> Self {
        Self::with(true)
    }

    fn that_refuses_log_ins() -> Self {
        Self::with(false)
    }

    fn with(accepts: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let is_listed = Arc::new(AtomicBool::new(true));
        let listed = Arc::clone(&is_listed);
        let (log_ins, shown) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (listed, log_ins) = (Arc::clone(&listed), log_ins.clone());
                std::thread::spawn(move || serve(stream, port, &listed, accepts.then_some(&log_ins)));
            }
        });
        Self { port, is_listed, shown }
    }
}

fn serve(mut stream: TcpStream, port: u16, listed: &AtomicBool, log_ins: Option<&Sender<Bytes>>) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut request = vec![0; (&length[..]).get_u32() as usize];
        if stream.read_exact(&mut request).is_err() {
            return;
        }
        let answer = answer(Bytes::from(request), port, listed.load(Ordering::Relaxed), log_ins);
        let mut framed = BytesMut::new();
        framed.put_u32(answer.len() as u32);
        framed.extend_from_slice(&answer);
        if stream.write_all(&framed).is_err() {
            return;
        }
    }
}

fn answer(mut request: Bytes, port: u16, is_listed: bool, log_ins: Option<&Sender<Bytes>>) -> BytesMut {
    let (key, version) = ((&request[..2]).get_i16(), (&request[2..4]).get_i16());
    let kind = ApiKey::try_from(key).expect("a request that Kafka knows");
    let header = RequestHeader::decode(&mut request, kind.request_header_version(version)).expect("a request");
    let answered = ResponseHeader::default().with_correlation_id(header.correlation_id);
    let mut bytes = BytesMut::new();
    match kind {
        ApiKey::ApiVersions => {
            let of = |key: ApiKey, most| ApiVersion::default().with_api_key(key as i16).with_max_version(most);
            let mut known = vec![of(ApiKey::ApiVersions, 3), of(ApiKey::Metadata, METADATA_VERSION)];
            known.extend([of(ApiKey::SaslHandshake, 1), of(ApiKey::SaslAuthenticate, 1)]);
            answered.encode(&mut bytes, ApiVersionsResponse::header_version(version)).expect("a header");
            ApiVersionsResponse::default().with_api_keys(known).encode(&mut bytes, version).expect("an answer");
        }
        ApiKey::Metadata => {
            let host = StrBytes::from_static_str("127.0.0.1");
            let own =
                MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_host(host).with_port(port.into());
            let leader = if is_listed { BrokerId(1) } else { BrokerId(-1) };
            let partition = MetadataResponsePartition::default().with_leader_id(leader);
            let name = Some(TopicName(StrBytes::from_static_str("t")));
            let topic = MetadataResponseTopic::default().with_name(name).with_partitions(vec![partition]);
            let brokers = if is_listed { vec![own] } else { Vec::new() };
            answered.encode(&mut bytes, MetadataResponse::header_version(version)).expect("a header");
            let metadata = MetadataResponse::default().with_brokers(brokers).with_topics(vec![topic]);
            metadata.encode(&mut bytes, version).expect("an answer");
        }
        ApiKey::SaslHandshake => {
            let mechanisms = vec![StrBytes::from_static_str("OAUTHBEARER")];
            answered.encode(&mut bytes, SaslHandshakeResponse::header_version(version)).expect("a header");
            let known = SaslHandshakeResponse::default().with_mechanisms(mechanisms);
            known.encode(&mut bytes, version).expect("an answer");
        }
        ApiKey::SaslAuthenticate => {
            let log_in = SaslAuthenticateRequest::decode(&mut request, version).expect("a request");
            let answer = SaslAuthenticateResponse::default();
            let answer = match log_ins {
                Some(log_ins) => {
                    // Who looks has seen enough.
                    let _ = log_ins.send(log_in.auth_bytes);
                    answer
                }
                None => answer
                    .with_error_code(ResponseError::SaslAuthenticationFailed.code())
                    .with_error_message(Some(StrBytes::from_static_str("{\"status\":\"invalid_token\"}"))),
            };
            answered.encode(&mut bytes, SaslAuthenticateResponse::header_version(version)).expect("a header");
            answer.encode(&mut bytes, version).expect("an answer");
        }
        other => panic!("{other:?} was not offered"),
    }
    bytes
}

#[test]
fn a_client_that_was_told_of_no_broker_finds_them_again() {
    let broker = Broker::start();
    let address = format!("127.0.0.1:{}", broker.port);
    let properties: Properties = [("bootstrap.servers".to_owned(), address)].into();
    let mut config = super::config(&properties);
    // Often it begins anew by itself; here never.
    config.set("metadata.recovery.strategy", "none");
    let consumer: BaseConsumer = config.create().expect("a client");
    let listed = || consumer.client().fetch_metadata(Some("t"), Duration::from_secs(1)).map(|m| m.brokers().len());
    assert_eq!(listed(), Ok(1));
    broker.is_listed.store(false, Ordering::Relaxed);
    let begin = Instant::now();
    // Some time after the answer it has nobody to ask any more.
    while listed().is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it still knows a broker");
        std::thread::sleep(Duration::from_millis(50));
    }
    broker.is_listed.store(true, Ordering::Relaxed);
    let mut reach = Reach::new(&properties);
    while listed() != Ok(1) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never finds them");
        reach.check(consumer.client(), Some("t"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn block(values: &[&[u8]]) -> OutgoingBlock {
    let mut messages = MaybeMessages::default();
    values.iter().for_each(|value| messages.push(Some(value)));
    OutgoingBlock { values: messages, ..OutgoingBlock::default() }
}

fn next_of<T>(inbox: &Inbox<T>) -> T {
    let begin = Instant::now();
    loop {
        match inbox.next() {
            Some(event) => return event,
            None => assert!(begin.elapsed() < Duration::from_secs(60), "nothing comes"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_offset_that_a_partition_does_not_have_is_told_with_those_it_has() {
    let mock = MockCluster::new(1).expect("a cluster");
    mock.create_topic("t", 1, 1).expect("a topic");
    let properties: Properties = [("bootstrap.servers".to_owned(), mock.bootstrap_servers())].into();
    let settings = ProducerSettings {
        properties: properties.clone(),
        topic: "t".to_owned(),
        partitioner: Partitioner::Default,
        subtask: 0,
    };
    let inbox = Inbox::new(Arc::new(|| {}));
    let writer = NativeCluster.producer(settings, inbox.clone(), Arc::default()).expect("sound settings");
    writer.ask(ProducerCommand::Open { producer: 0, transactional_id: None });
    assert!(matches!(next_of(&inbox), ProducerEvent::Opened { .. }));
    writer.ask(ProducerCommand::Send { producer: 0, block: block(&[b"a", b"b", b"c"]) });
    writer.ask(ProducerCommand::Flush { producer: 0 });
    assert!(matches!(next_of(&inbox), ProducerEvent::Flushed { .. }));
    let mut properties = properties;
    for (key, value) in [("group.id", "g"), ("enable.auto.commit", "false"), ("auto.offset.reset", "error")] {
        properties.insert(key.to_owned(), value.to_owned());
    }
    let inbox = Inbox::new(Arc::new(|| {}));
    let reader = NativeCluster.consumer(reads(properties), inbox.clone(), Arc::default()).expect("sound settings");
    let partition = TopicPartition { topic: "t".into(), partition: 0 };
    let lag = Arc::new(PartitionLag::new("t".into(), 0, 99, None));
    reader.ask(ConsumerCommand::Read { partition, offset: 99, lag });
    let ConsumerEvent::Failed(fault) = next_of(&inbox) else { panic!("a failure is expected") };
    let text = fault.to_string();
    let expected = "topic t, partition 0, offset 99: there is no such offset any more, or not yet, the partition begins at \
                    offset 0 and ends before 3";
    assert!(text.starts_with(expected), "{text}");
}

fn reads(properties: Properties) -> ConsumerSettings {
    ConsumerSettings {
        properties,
        topics: Topics::Names(vec!["t".to_owned()]),
        keys: false,
        headers: false,
        bounded: false,
        most_under_way: usize::MAX,
    }
}

/// The clients say it beside much else, and are not asked for long.
#[test]
fn a_log_in_that_brokers_refuse_is_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    // It ends in the year 5138.
    std::fs::write(&file, "e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.x").expect("written");
    let (address, url) =
        (format!("127.0.0.1:{}", Broker::that_refuses_log_ins().port), format!("file://{}", file.display()));
    let properties = [
        ("bootstrap.servers", address.as_str()),
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanisms", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.endpoint.url", url.as_str()),
        ("default.api.timeout.ms", "8000"),
        // Each client warns of one of these, that it has no use for it.
        ("acks", "all"),
        ("group.id", "g"),
    ];
    let properties: Properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let heard = Inbox::new(Arc::new(|| {}));
    let reader =
        NativeCluster.consumer(reads(properties.clone()), heard.clone(), Arc::default()).expect("sound settings");
    reader.ask(ConsumerCommand::List);
    let settings =
        ProducerSettings { properties, topic: "t".to_owned(), partitioner: Partitioner::Default, subtask: 0 };
    let told = Inbox::new(Arc::new(|| {}));
    let writer = NativeCluster.producer(settings, told.clone(), Arc::default()).expect("sound settings");
    writer.ask(ProducerCommand::Open { producer: 0, transactional_id: None });
    let ProducerEvent::Failed(of_writer) = next_of(&told) else { panic!("a failure is expected") };
    let ConsumerEvent::Failed(of_reader) = next_of(&heard) else { panic!("a failure is expected") };
    for fault in [of_reader, of_writer] {
        let text = fault.to_string();
        assert!(text.starts_with("topic t: ") && text.contains("{\"status\":\"invalid_token\"}"), "{text}");
        assert!(text.contains(&format!("the brokers refuse the token of {}", file.display())), "{text}");
    }
}

/// What is read waits for brokers that are away; a question does not wait for ever.
#[test]
fn brokers_that_are_away_are_asked_again() {
    let mock = MockCluster::new(1).expect("a cluster");
    mock.create_topic("t", 1, 1).expect("a topic");
    let properties =
        [("bootstrap.servers", &*mock.bootstrap_servers()), ("default.api.timeout.ms", "1500"), ("group.id", "g")];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let inbox = Inbox::new(Arc::new(|| {}));
    let reader = NativeCluster.consumer(reads(properties), inbox.clone(), Arc::default()).expect("sound settings");
    let list = || {
        reader.ask(ConsumerCommand::List);
        next_of(&inbox)
    };
    assert!(matches!(list(), ConsumerEvent::Partitions(partitions, _) if partitions.len() == 1));
    mock.broker_down(1).expect("it is there");
    let ConsumerEvent::NotListed(fault) = list() else { panic!("nobody can be asked") };
    assert!(fault.detail.contains("no answer from"), "{fault}");
    mock.broker_up(1).expect("it was there");
    let again = std::iter::repeat_with(list).take(40);
    assert!({ again }.any(|event| matches!(event, ConsumerEvent::Partitions(partitions, _) if partitions.len() == 1)));
}

/// Such a transaction is open still when the broker is asked, but without the records.
#[test]
fn records_of_a_transaction_that_failed_are_missed() {
    let mock = MockCluster::new(1).expect("a cluster");
    mock.create_topic("t", 1, 1).expect("a topic");
    let properties = [("bootstrap.servers".to_owned(), mock.bootstrap_servers())].into();
    let settings =
        ProducerSettings { properties, topic: "t".to_owned(), partitioner: Partitioner::Default, subtask: 0 };
    let inbox = Inbox::new(Arc::new(|| {}));
    let writer = NativeCluster.producer(settings, inbox.clone(), Arc::default()).expect("sound settings");
    let next = || next_of(&inbox);
    writer.ask(ProducerCommand::Open { producer: 0, transactional_id: Some("x".to_owned()) });
    assert!(matches!(next(), ProducerEvent::Opened { producer: 0 }));
    let refusal = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    mock.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &refusal);
    writer.ask(ProducerCommand::Send { producer: 0, block: block(&[b"a", b"b"]) });
    writer.ask(ProducerCommand::Flush { producer: 0 });
    let ProducerEvent::Failed(fault) = next() else { panic!("a failure is expected") };
    let text = fault.to_string();
    assert!(
        text.contains("topic t: writing failed: a record of 1 bytes was not written: its transaction failed"),
        "{text}"
    );
    assert!(text.contains("uthorization"), "{text}");
}

#[test]
fn clients_that_read_and_that_write_show_a_token_with_its_extensions() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    // It ends in the year 5138.
    std::fs::write(&path, "e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.x").expect("written");
    let broker = Broker::start();
    let (servers, url) = (format!("127.0.0.1:{}", broker.port), format!("file://{}", path.display()));
    let properties = [
        ("bootstrap.servers", servers.as_str()),
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanisms", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.endpoint.url", &url),
        ("sasl.oauthbearer.extensions", "logicalCluster=lkc,1\npool=x y"),
    ];
    let properties: Properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let shown = || {
        let shown = broker.shown.recv_timeout(Duration::from_secs(60)).expect("a log-in");
        // The order of extensions means nothing.
        let mut fields: Vec<String> = String::from_utf8_lossy(&shown).split('\x01').map(str::to_owned).collect();
        fields.sort();
        fields
    };
    let expected = ["", "", "auth=Bearer e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.x", "logicalCluster=lkc,1", "n,,", "pool=x y"];
    let settings = ConsumerSettings {
        properties: properties.clone(),
        topics: Topics::Names(vec!["t".to_owned()]),
        keys: false,
        headers: false,
        bounded: false,
        most_under_way: usize::MAX,
    };
    let reader = NativeCluster.consumer(settings, Inbox::new(Arc::new(|| {})), Arc::default()).expect("sound settings");
    reader.ask(ConsumerCommand::List);
    assert_eq!(shown(), expected);
    drop(reader);
    while broker.shown.try_recv().is_ok() {}
    let settings =
        ProducerSettings { properties, topic: "t".to_owned(), partitioner: Partitioner::Default, subtask: 0 };
    let inbox = Inbox::new(Arc::new(|| {}));
    let writer = NativeCluster.producer(settings, inbox, Arc::default()).expect("sound settings");
    writer.ask(ProducerCommand::Open { producer: 0, transactional_id: None });
    writer.ask(ProducerCommand::Send { producer: 0, block: block(&[b"a"]) });
    assert_eq!(shown(), expected);
}
