//! A real broker through the real clients does what every cluster must.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use streamfleet_connectors::kafka::NativeCluster;
use streamfleet_connectors::kafka::conformance::{Place, check};

fn broker() -> String {
    std::env::var("STREAMFLEET_TEST_KAFKA").expect(
        "STREAMFLEET_TEST_KAFKA must be the address of a broker: run this test by `make unit`, which starts one",
    )
}

#[test]
fn a_real_broker_conforms() {
    let broker = broker();
    let admin: AdminClient<DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &broker).create().expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    check(&Place {
        cluster: &|| Arc::new(NativeCluster),
        properties: [("bootstrap.servers".to_owned(), broker.clone())].into(),
        create_topic: &|name, partitions| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            let made = runtime.block_on(admin.create_topics(&[topic], &AdminOptions::new())).expect("an answer");
            assert!(made.iter().all(Result::is_ok), "{made:?}");
        },
        delete_topic: &|name| {
            let gone = runtime.block_on(admin.delete_topics(&[name], &AdminOptions::new())).expect("an answer");
            assert!(gone.iter().all(Result::is_ok), "{gone:?}");
        },
        pass: &std::thread::sleep,
        prefix: format!("conformance-{}", now.as_nanos()),
    });
}
