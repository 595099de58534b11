//! The model of Kafka does what every cluster must.

use streamfleet_connectors::kafka::conformance::{Place, check};
use streamfleet_simulation::KafkaAtOnce;

#[test]
fn the_model_conforms() {
    let kafka = KafkaAtOnce::default();
    check(&Place {
        cluster: &|| kafka.cluster(),
        properties: [("bootstrap.servers".to_owned(), "model".to_owned())].into(),
        create_topic: &|name, partitions| kafka.create_topic(name, partitions),
        delete_topic: &|name| kafka.delete_topic(name),
        pass: &|time| kafka.pass(time),
        prefix: "model".to_owned(),
    });
}
