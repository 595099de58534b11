//! `properties.*`: the client's settings, by the names of Kafka's Java client or of librdkafka.

use super::client::{Properties, REACH_WITHIN};
use super::{jaas, oauth};
use crate::options::{bad, hidden, warn_once};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

const PREFIX: &str = "properties.";

/// Settings that source and sink read themselves.
const OWN: [&str; 3] = ["auto.offset.reset", "commit.offsets.on.checkpoint", DISCOVERY];

/// Flink's name for the interval at which new partitions are looked for, below that of the table's option.
pub(super) const DISCOVERY: &str = "partition.discovery.interval.ms";

/// Settings of the Java client and of Flink's source that have no counterpart here and that nothing depends on: partitions
/// are assigned by the job, not by the group, and bytes are read as they are.
const WITHOUT_EFFECT: [&str; 49] = [
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "max.poll.records",
    "max.poll.interval.ms",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "partition.assignment.strategy",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "internal.leave.group.on.close",
    "exclude.internal.topics",
    "client.dns.lookup",
    "interceptor.classes",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "auto.include.jmx.reporter",
    "register.consumer.metrics",
    "register.producer.metrics",
    "flink.poll-timeout",
    "metadata.max.idle.ms",
    "partitioner.ignore.keys",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "ssl.protocol",
    "ssl.enabled.protocols",
    "ssl.provider",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    "ssl.secure.random.implementation",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.retry.backoff.ms",
    "sasl.login.retry.backoff.max.ms",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
];

/// Settings that are the connector's own business.
const RESERVED: [&str; 2] = ["transactional.id", "enable.partition.eof"];

/// Numbers: the Java client's name, librdkafka's, and what librdkafka takes at least and at most, which is less than the Java
/// client does.
const NUMBERS: [(&str, &str, i64, i64); 12] = [
    ("max.request.size", "message.max.bytes", 1_000, 1_000_000_000),
    ("max.partition.fetch.bytes", "max.partition.fetch.bytes", 1, 1_000_000_000),
    ("fetch.max.bytes", "fetch.max.bytes", 1_000, 2_147_483_135),
    ("fetch.max.wait.ms", "fetch.wait.max.ms", 0, 300_000),
    ("delivery.timeout.ms", "message.timeout.ms", 0, 2_147_483_647),
    ("request.timeout.ms", "request.timeout.ms", 1, 900_000),
    ("retry.backoff.ms", "retry.backoff.ms", 1, 300_000),
    ("metadata.max.age.ms", "metadata.max.age.ms", 1, 86_400_000),
    ("batch.size", "batch.size", 1, 2_147_483_647),
    // Below zero the Java client leaves it to the system, as librdkafka does with zero.
    ("receive.buffer.bytes", "socket.receive.buffer.bytes", 0, 100_000_000),
    ("send.buffer.bytes", "socket.send.buffer.bytes", 0, 100_000_000),
    ("socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.ms", 1_000, 2_147_483_647),
];

/// What the table says, by librdkafka's names.
///
/// # Errors
/// No broker is named, or a setting cannot be used.
pub(super) fn of(table: &TableDescriptor) -> Result<Properties, DataflowError> {
    let mut properties = Properties::new();
    check_mechanism(table)?;
    for (option, value) in &table.options {
        let Some(key) = option.strip_prefix(PREFIX) else { continue };
        if RESERVED.contains(&key) {
            let detail = "the connector sets it: see 'scan.startup.mode' and 'sink.delivery-guarantee'";
            return Err(bad(table, option, detail));
        }
        if !OWN.contains(&key) && !WITHOUT_EFFECT.contains(&key) {
            translate(table, option, key, value.trim(), &mut properties)?;
        }
    }
    if properties.get("bootstrap.servers").is_none_or(String::is_empty) {
        return Err(bad(table, "properties.bootstrap.servers", "the brokers' addresses are needed, as host:port,.."));
    }
    let idle = without_effect(table);
    if !idle.is_empty() {
        warn_once(table, &format!("these settings of Kafka's Java client have no effect here: {}", idle.join(", ")));
    }
    Ok(properties)
}

const MECHANISM: &str = "properties.sasl.mechanism";

/// How a client logs in, as the table says it.
pub(super) fn mechanism(table: &TableDescriptor) -> Option<(&'static str, String)> {
    let options = [MECHANISM, "properties.sasl.mechanisms"];
    options.into_iter().find_map(|option| Some((option, table.option(option)?.trim().to_ascii_uppercase())))
}

/// Refuses what no client here does: Kerberos above all, which clients take for granted where no mechanism is named.
fn check_mechanism(table: &TableDescriptor) -> Result<(), DataflowError> {
    const KNOWN: &str = "use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
    match mechanism(table) {
        Some((option, name)) if name == "GSSAPI" => {
            Err(bad(table, option, format!("Kerberos (GSSAPI) is not supported: {KNOWN}")))
        }
        // What is left empty the client refuses.
        Some((option, name)) if !name.is_empty() && jaas::module_of(&name).is_none() => {
            Err(bad(table, option, format!("it is not supported: {KNOWN}")))
        }
        Some(_) => Ok(()),
        None => {
            let protocol = table.option("properties.security.protocol").map(|text| text.trim().to_ascii_uppercase());
            match protocol.filter(|protocol| protocol.starts_with("SASL_")) {
                Some(protocol) => {
                    let detail = format!(
                        "with 'properties.security.protocol' = '{protocol}' it is needed. Kerberos (GSSAPI) is not supported: {KNOWN}"
                    );
                    Err(bad(table, MECHANISM, detail))
                }
                None => Ok(()),
            }
        }
    }
}

/// The table's settings that are taken and passed over.
fn without_effect(table: &TableDescriptor) -> Vec<&str> {
    let is_idle = |option: &&str| option.strip_prefix(PREFIX).is_some_and(|key| WITHOUT_EFFECT.contains(&key));
    table.options.keys().map(String::as_str).filter(is_idle).collect()
}

/// A setting with which a producer cannot keep rows from being lost, written twice or out of order, and why.
pub(super) fn weakness(table: &TableDescriptor) -> Option<(&str, &'static str)> {
    table.options.iter().find_map(|(option, value)| {
        let (value, number) = (value.trim(), value.trim().parse::<i64>().ok());
        let why = match option.strip_prefix(PREFIX)? {
            "enable.idempotence" if value.eq_ignore_ascii_case("false") => "without it a retry may write rows twice",
            "acks" | "request.required.acks" if !matches!(value, "all" | "-1") => {
                "without the acknowledgement of 'all' replicas written rows may be lost"
            }
            "retries" | "message.send.max.retries" if number == Some(0) => "without a retry rows may be lost",
            "max.in.flight.requests.per.connection" | "max.in.flight" if number.is_some_and(|most| most > 5) => {
                "brokers tell rows that come twice apart only with 5 at most"
            }
            _ => return None,
        };
        Some((option.as_str(), why))
    })
}

/// Makes a writer of what a table's reader has that loses nothing, whatever the table says for others.
pub(super) fn for_letters(properties: &mut Properties) {
    /// What a writer does not take, and what would weaken it.
    const NOT_TAKEN: [&str; 10] = [
        "group.id",
        "isolation.level",
        "fetch.min.bytes",
        "fetch.max.bytes",
        "acks",
        "request.required.acks",
        "retries",
        "message.send.max.retries",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
    ];
    properties.retain(|key, _| !NOT_TAKEN.contains(&key.as_str()));
    properties.insert("enable.idempotence".to_owned(), "true".to_owned());
}

/// The error for a property, by librdkafka's name, that librdkafka does not take.
pub(super) fn refused(table: &TableDescriptor, property: &str, detail: &str) -> DataflowError {
    const SECRETS: [&str; 6] = ["password", "secret", "passphrase", "jaas", "pem", "keystore.key"];
    let comes_from = |(option, value): &(&String, &String)| {
        let mut made = Properties::new();
        let key = option.strip_prefix(PREFIX);
        key.is_some_and(|key| translate(table, option, key, value.trim(), &mut made).is_ok())
            && made.contains_key(property)
    };
    // Of several the last one holds.
    let found = table.options.iter().rev().find(comes_from).map(|(option, _)| option.clone());
    let option = found.unwrap_or_else(|| format!("{PREFIX}{property}"));
    let advice = "settings have the names and values of Kafka's Java client, or of librdkafka";
    if detail.starts_with("No such configuration property") {
        // It may be that of a secret, misspelt.
        return hidden(table, &option, &format!("{detail}: {advice}"));
    }
    if SECRETS.iter().any(|word| option.contains(word)) {
        return hidden(table, &option, "the client does not take its value");
    }
    bad(table, &option, format!("{detail}: {advice}"))
}

fn translate(
    table: &TableDescriptor,
    option: &str,
    key: &str,
    value: &str,
    properties: &mut Properties,
) -> Result<(), DataflowError> {
    let number =
        |unit: &str| value.parse::<i64>().map_err(|_| bad(table, option, format!("a number {unit} is needed")));
    if let Some((_, name, least, most)) = NUMBERS.iter().find(|(java, ..)| *java == key) {
        let unit = if key.ends_with(".ms") { "of milliseconds" } else { "of bytes" };
        properties.insert((*name).to_owned(), number(unit)?.clamp(*least, *most).to_string());
        return Ok(());
    }
    if oauth::translate(table, option, key, value, properties)? {
        return Ok(());
    }
    let mut set = |key: &str, value: &str| {
        properties.insert(key.to_owned(), value.to_owned());
    };
    match key {
        REACH_WITHIN if value.parse::<u64>().is_err() => {
            return Err(bad(table, option, "a number of milliseconds is needed"));
        }
        // How long the Java producer waits for the cluster.
        "max.block.ms" => {
            let within = number("of milliseconds")?.max(0).to_string();
            properties.entry(REACH_WITHIN.to_owned()).or_insert(within);
        }
        "metadata.broker.list" => set("bootstrap.servers", value),
        "client.id.prefix" => set("client.id", value),
        "sasl.jaas.config" => jaas::translate(table, option, value, properties)?,
        "sasl.mechanism" | "sasl.mechanisms" => set("sasl.mechanisms", &value.to_ascii_uppercase()),
        "security.protocol" => set("security.protocol", &value.to_ascii_lowercase()),
        "buffer.memory" => {
            let bytes = number("of bytes")?;
            set("queue.buffering.max.kbytes", &(bytes / 1024).clamp(1, 2_147_483_647).to_string());
        }
        "ssl.truststore.type" | "ssl.keystore.type" if value.eq_ignore_ascii_case("PEM") => {}
        "ssl.truststore.type" | "ssl.keystore.type" => return Err(bad(table, option, ONLY_PEM)),
        // Only a store that is no PEM has a password.
        "ssl.truststore.password" => return Err(hidden(table, option, ONLY_PEM)),
        "ssl.truststore.location" | "ssl.keystore.location" if is_no_pem(value) => {
            return Err(bad(table, option, ONLY_PEM));
        }
        "ssl.truststore.location" => set("ssl.ca.location", value),
        "ssl.truststore.certificates" => set("ssl.ca.pem", value),
        "ssl.keystore.certificate.chain" => set("ssl.certificate.pem", value),
        "ssl.keystore.key" => set("ssl.key.pem", value),
        "ssl.keystore.location" => {
            set("ssl.certificate.location", value);
            set("ssl.key.location", value);
        }
        "ssl.endpoint.identification.algorithm" if value.is_empty() => set(key, "none"),
        "ssl.endpoint.identification.algorithm" => set(key, &value.to_ascii_lowercase()),
        "partitioner.class" => {
            return Err(bad(table, option, "a class of Java cannot be loaded: see 'sink.partitioner'"));
        }
        _ if key.ends_with(".class") => {
            return Err(bad(table, option, "a class of Java cannot be loaded: leave it out"));
        }
        _ => set(key, value),
    }
    Ok(())
}

const ONLY_PEM: &str = "only PEM is read: convert the store (openssl pkcs12, keytool -rfc)";

/// True for the usual names of the Java client's own stores.
fn is_no_pem(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".jks", ".p12", ".pfx", ".pkcs12"].iter().any(|ending| path.ends_with(ending))
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
    fn kerberos_is_refused_named_or_not() {
        let kerberos = [
            &[("properties.sasl.mechanism", "GSSAPI"), ("properties.sasl.jaas.config", "Krb5LoginModule required;")][..],
            &[("properties.sasl.mechanisms", "gssapi")],
            &[("properties.security.protocol", "SASL_SSL")],
        ];
        for options in kerberos {
            let error = properties(options).expect_err("refused");
            assert!(error.contains("'properties.sasl.mechanism") && error.contains("Kerberos (GSSAPI)"), "{error}");
        }
        let plain = [("properties.security.protocol", "sasl_plaintext"), ("properties.sasl.mechanisms", "PLAIN")];
        assert!(properties(&plain).is_ok());
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

    #[test]
    fn settings_that_flink_users_write_are_taken() {
        let given = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("fetch.max.wait.ms", "200"),
            ("max.block.ms", "30000"),
            ("batch.size", "0"),
            ("linger.ms", "20"),
            ("buffer.memory", "33554432"),
            ("max.request.size", "2147483647"),
            ("delivery.timeout.ms", "120000"),
            ("request.timeout.ms", "30000"),
            ("max.in.flight.requests.per.connection", "5"),
            ("max.poll.records", "500"),
            ("value.deserializer", "X"),
            ("partition.discovery.interval.ms", "10000"),
            ("client.id.prefix", "me"),
            ("retry.backoff.ms", "0"),
            ("metadata.max.age.ms", "60000"),
            ("receive.buffer.bytes", "-1"),
            ("ssl.endpoint.identification.algorithm", "HTTPS"),
            ("session.timeout.ms", "600000"),
            ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor"),
        ];
        let options: Vec<(String, &str)> = given.iter().map(|(k, v)| (format!("{PREFIX}{k}"), *v)).collect();
        let options: Vec<(&str, &str)> = options.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let found = properties(&options).expect("usable");
        let expected = [
            ("acks", "all"),
            ("batch.size", "1"),
            ("bootstrap.servers", "b:9092"),
            ("client.id", "me"),
            ("default.api.timeout.ms", "30000"),
            ("enable.idempotence", "true"),
            ("fetch.wait.max.ms", "200"),
            ("linger.ms", "20"),
            ("max.in.flight.requests.per.connection", "5"),
            ("message.max.bytes", "1000000000"),
            ("message.timeout.ms", "120000"),
            ("metadata.max.age.ms", "60000"),
            ("queue.buffering.max.kbytes", "32768"),
            ("request.timeout.ms", "30000"),
            ("retry.backoff.ms", "1"),
            ("socket.receive.buffer.bytes", "0"),
            ("ssl.endpoint.identification.algorithm", "https"),
        ];
        assert_eq!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
        assert_eq!(super::super::native::bad_property(&found), None, "librdkafka takes them all");
        let idle = table(&[], &options);
        let expected =
            ["max.poll.records", "partition.assignment.strategy", "session.timeout.ms", "value.deserializer"];
        assert_eq!(without_effect(&idle), expected.map(|key| format!("{PREFIX}{key}")));
    }

    #[test]
    fn dead_letters_are_written_safely_whatever_the_table_says() {
        let weak = [("properties.acks", "1"), ("properties.retries", "0"), ("properties.group.id", "g")];
        let mut found = properties(&weak).expect("usable");
        for_letters(&mut found);
        let expected = [("bootstrap.servers", "b:9092"), ("enable.idempotence", "true")];
        assert_eq!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_error_names_the_option_that_a_property_comes_from() {
        let said = |option: &str, value: &str| {
            let options = [("connector", "kafka"), ("properties.bootstrap.servers", "b:9092"), (option, value)];
            let table = table(&[], &options);
            let found = of(&table).and_then(|properties| super::super::check_properties(&table, &properties));
            found.expect_err("refused").to_string()
        };
        // Perhaps a misspelt secret.
        for option in ["properties.no.such", "properties.sasl.passwort", "properties.ssl.key.pasword"] {
            let error = said(option, "hush");
            let expected = format!("table t: option '{option}' = '(hidden)': No such configuration property");
            assert!(error.starts_with(&expected) && !error.contains("hush"), "{error}");
        }
        let error = said("properties.compression.type", "rar");
        assert!(error.starts_with("table t: option 'properties.compression.type' = 'rar': Invalid value"), "{error}");
        let error = said("properties.sasl.mechanism", "");
        assert!(error.starts_with("table t: option 'properties.sasl.mechanism' = ''"), "{error}");
        let error = said("properties.fetch.max.wait.ms", "soon");
        assert!(
            error.contains("'properties.fetch.max.wait.ms' = 'soon': a number of milliseconds is needed"),
            "{error}"
        );
        let error = said("properties.partitioner.class", "my.Own");
        assert!(error.contains("see 'sink.partitioner'"), "{error}");
        let error = said("properties.ssl.truststore.location", "/etc/Trust.JKS");
        assert!(error.contains("only PEM"), "{error}");
        let error = said("properties.ssl.truststore.password", "secret");
        assert!(error.contains("only PEM") && !error.contains("secret"), "{error}");
    }
}
