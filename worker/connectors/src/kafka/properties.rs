//! `properties.*`: the client's settings, by the names of Kafka's Java client or of librdkafka.

use super::client::{Properties, REACH_WITHIN};
use crate::options::bad;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

const PREFIX: &str = "properties.";

/// Settings of the Java client that have no counterpart here and that nothing depends on.
const WITHOUT_EFFECT: [&str; 16] = [
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "max.poll.records",
    "max.poll.interval.ms",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "receive.buffer.bytes",
    "send.buffer.bytes",
    "client.dns.lookup",
    "interceptor.classes",
    "metric.reporters",
    "metadata.max.idle.ms",
    // The source reads them itself.
    "auto.offset.reset",
    "commit.offsets.on.checkpoint",
];

/// Settings that are the connector's own business.
const RESERVED: [&str; 3] = ["transactional.id", "enable.idempotence", "enable.partition.eof"];

/// What the table says, by librdkafka's names.
///
/// # Errors
/// No broker is named, or a setting cannot be used.
pub(super) fn of(table: &TableDescriptor) -> Result<Properties, DataflowError> {
    let mut properties = Properties::new();
    for (option, value) in &table.options {
        let Some(key) = option.strip_prefix(PREFIX) else { continue };
        if RESERVED.contains(&key) {
            let detail = "the connector sets it: see 'scan.startup.mode' and 'sink.delivery-guarantee'";
            return Err(bad(table, option, detail));
        }
        if WITHOUT_EFFECT.contains(&key) {
            continue;
        }
        translate(table, option, key, value.trim(), &mut properties)?;
    }
    if properties.get("bootstrap.servers").is_none_or(String::is_empty) {
        return Err(bad(table, "properties.bootstrap.servers", "the brokers' addresses are needed, as host:port,.."));
    }
    Ok(properties)
}

fn translate(
    table: &TableDescriptor,
    option: &str,
    key: &str,
    value: &str,
    properties: &mut Properties,
) -> Result<(), DataflowError> {
    let mut set = |key: &str, value: &str| {
        properties.insert(key.to_owned(), value.to_owned());
    };
    match key {
        REACH_WITHIN if value.parse::<u64>().is_err() => {
            return Err(bad(table, option, "a number of milliseconds is needed"));
        }
        "metadata.broker.list" => set("bootstrap.servers", value),
        "sasl.jaas.config" => {
            for (field, name) in [("username", "sasl.username"), ("password", "sasl.password")] {
                match jaas_field(value, field) {
                    Some(text) => set(name, text),
                    None => {
                        let detail = format!("`{field}=\"..\"` is not in it");
                        // The value holds a password: it must not be shown.
                        return Err(hidden(table, option, &detail));
                    }
                }
            }
        }
        "sasl.mechanism" => set("sasl.mechanisms", value),
        "security.protocol" => set("security.protocol", &value.to_ascii_lowercase()),
        "max.request.size" => set("message.max.bytes", value),
        "buffer.memory" => {
            let bytes: u64 = value.parse().map_err(|_| bad(table, option, "a number of bytes is needed"))?;
            set("queue.buffering.max.kbytes", &(bytes / 1024).max(1).to_string());
        }
        "delivery.timeout.ms" => set("message.timeout.ms", value),
        "ssl.truststore.type" | "ssl.keystore.type" if value.eq_ignore_ascii_case("PEM") => {}
        "ssl.truststore.type" | "ssl.keystore.type" => {
            return Err(bad(table, option, "only PEM is read: convert the store (openssl pkcs12, keytool -rfc)"));
        }
        "ssl.truststore.location" => set("ssl.ca.location", value),
        "ssl.truststore.certificates" => set("ssl.ca.pem", value),
        "ssl.keystore.certificate.chain" => set("ssl.certificate.pem", value),
        "ssl.keystore.key" => set("ssl.key.pem", value),
        "ssl.keystore.location" => {
            set("ssl.certificate.location", value);
            set("ssl.key.location", value);
        }
        "ssl.endpoint.identification.algorithm" => set(key, if value.is_empty() { "none" } else { value }),
        _ => set(key, value),
    }
    Ok(())
}

/// The error for an option whose value is a secret.
fn hidden(table: &TableDescriptor, option: &str, detail: &str) -> DataflowError {
    DataflowError::Option {
        table: table.name.clone(),
        option: option.to_owned(),
        value: "(hidden)".to_owned(),
        detail: detail.to_owned(),
    }
}

/// A field of a JAAS entry: `Module required username="u" password="p";`.
fn jaas_field<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    let mut rest = text;
    while let Some(at) = rest.find(field) {
        let (before, found) = rest.split_at(at);
        let after = found[field.len()..].trim_start();
        if before.ends_with(|c: char| c.is_whitespace() || c == ';')
            && let Some(value) = after.strip_prefix('=')
        {
            let value = value.trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            return value[1..].split(quote).next();
        }
        rest = &found[field.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::table;

    fn properties(options: &[(&str, &str)]) -> Result<Properties, String> {
        let mut all = vec![("connector", "kafka"), ("properties.bootstrap.servers", "b:9092")];
        all.extend(options);
        of(&table(&[], &all)).map_err(|e| e.to_string())
    }

    #[test]
    fn names_of_the_java_client_are_translated() {
        let found = properties(&[
            ("properties.security.protocol", "SASL_SSL"),
            ("properties.sasl.mechanism", "SCRAM-SHA-512"),
            (
                "properties.sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"me\" password=\"it's;\";",
            ),
            ("properties.ssl.truststore.type", "PEM"),
            ("properties.ssl.truststore.location", "/ca.pem"),
            ("properties.max.request.size", "2000000"),
            ("properties.key.serializer", "X"),
        ])
        .expect("usable");
        let expected = [
            ("bootstrap.servers", "b:9092"),
            ("message.max.bytes", "2000000"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.password", "it's;"),
            ("sasl.username", "me"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/ca.pem"),
        ];
        assert_eq!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_secrets_are_not_shown() {
        let error = of(&table(&[], &[("connector", "kafka")])).expect_err("no broker").to_string();
        assert!(error.contains("'properties.bootstrap.servers'") && error.contains("host:port"), "{error}");
        let error =
            properties(&[("properties.sasl.jaas.config", "x username='u' passwd='secret'")]).expect_err("no password");
        assert!(error.contains("`password=\"..\"` is not in it") && !error.contains("secret"), "{error}");
        let error = properties(&[("properties.ssl.truststore.type", "JKS")]).expect_err("not PEM");
        assert!(error.contains("only PEM"), "{error}");
        let error = properties(&[("properties.transactional.id", "x")]).expect_err("reserved");
        assert!(error.contains("the connector sets it"), "{error}");
    }
}
