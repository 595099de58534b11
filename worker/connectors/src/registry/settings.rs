//! How a registry is reached, by the options of Flink's formats.

use crate::options;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::fmt;
use std::time::Duration;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

/// How long a registry that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    None,
    Basic { user: String, password: String },
    Bearer(String),
}

/// How a registry is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Its addresses, without credentials: the next is asked if one does not answer.
    pub(super) urls: Vec<Url>,
    pub(super) credentials: Credentials,
    /// A file of certificates that are trusted, in PEM.
    pub(super) trusted: Option<String>,
    /// A file of the client's own key and certificates, in PEM.
    pub(super) identity: Option<String>,
    pub(super) patience: Duration,
}

impl fmt::Debug for RegistrySettings {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySettings")
            .field("urls", &self.place())
            .field("has_credentials", &(self.credentials != Credentials::None))
            .finish_non_exhaustive()
    }
}

/// What the planner knows of the options for its registry that the format of this name has.
macro_rules! registry_options {
    ($format:literal) => {{
        use streamfleet_logical::{OptionKind, OptionSpec};
        use $crate::options::option;
        let text = |name, help| option(name, OptionKind::Text, "", help);
        vec![
            OptionSpec {
                required: true,
                older: concat!($format, ".schema-registry.url"),
                ..text(
                    concat!($format, ".url"),
                    "The registry's address, or several, separated by commas. Taken as `schema-registry.url` too.",
                )
            },
            option(
                concat!($format, ".basic-auth.credentials-source"),
                OptionKind::OneOf(&["USER_INFO", "URL"]),
                "",
                "Where user and password are: in `basic-auth.user-info`, or in the address.",
            ),
            text(concat!($format, ".basic-auth.user-info"), "`user:password`."),
            option(
                concat!($format, ".bearer-auth.credentials-source"),
                OptionKind::OneOf(&["STATIC_TOKEN"]),
                "",
                "The token is in `bearer-auth.token`.",
            ),
            text(concat!($format, ".bearer-auth.token"), "The token that is shown to the registry."),
            text(concat!($format, ".ssl.truststore.location"), "A file of trusted certificates, in PEM."),
            text(concat!($format, ".ssl.truststore.password"), "Refused: certificates in PEM have none."),
            text(
                concat!($format, ".ssl.keystore.location"),
                "A file of the client's own key and certificates, in PEM.",
            ),
            text(concat!($format, ".ssl.keystore.password"), "Refused: the key in PEM must have none."),
            option(
                concat!($format, ".retry-timeout"),
                OptionKind::Duration,
                "1 min",
                "How long a registry that does not answer is asked again before the job fails.",
            ),
        ]
    }};
}
pub(crate) use registry_options;

/// What Confluent's client calls the options above: Flink takes them behind `properties.`.
const CLIENT_NAMES: &[(&str, &str)] = &[
    ("basic-auth.credentials-source", "basic.auth.credentials.source"),
    ("basic-auth.user-info", "basic.auth.user.info"),
    ("basic-auth.user-info", "schema.registry.basic.auth.user.info"),
    ("bearer-auth.credentials-source", "bearer.auth.credentials.source"),
    ("bearer-auth.token", "bearer.auth.token"),
    ("ssl.truststore.location", "schema.registry.ssl.truststore.location"),
    ("ssl.truststore.password", "schema.registry.ssl.truststore.password"),
    ("ssl.keystore.location", "schema.registry.ssl.keystore.location"),
    ("ssl.keystore.password", "schema.registry.ssl.keystore.password"),
    ("ssl.keystore.password", "schema.registry.ssl.key.password"),
];

/// The properties of Confluent's client among a table's options that change nothing here. `prefix`: as `avro-confluent.`.
pub(crate) fn passed_over<'t>(table: &'t TableDescriptor, prefix: &str) -> Vec<&'t str> {
    let known = |name: &str| CLIENT_NAMES.iter().any(|(_, client)| *client == name) || name == "auto.register.schemas";
    let keys = table.options.keys().filter(|key| {
        let property = key.strip_prefix(prefix).and_then(|key| key.strip_prefix("properties."));
        property.is_some_and(|property| !known(property))
    });
    keys.map(String::as_str).collect()
}

impl RegistrySettings {
    /// What the options of a table say that begin with this prefix, such as `avro-confluent.`.
    pub fn of(table: &TableDescriptor, prefix: &str) -> Result<Self, DataflowError> {
        // The option that is set: Flink's own goes before the client's.
        let name = |option: &str| {
            let own = format!("{prefix}{option}");
            let clients = CLIENT_NAMES.iter().filter(|(flinks, _)| *flinks == option);
            let mut clients = clients.map(|(_, client)| format!("{prefix}properties.{client}"));
            let is_set = |name: &String| table.option(name).is_some();
            if is_set(&own) { own } else { clients.find(is_set).unwrap_or(own) }
        };
        let get = |option: &str| table.option(&name(option)).map(str::trim).filter(|text| !text.is_empty());
        // Values may be secrets: errors do not show them.
        let bad = |option: &str, detail: &str| options::hidden(table, &name(option), detail);
        let mut urls = Vec::new();
        let mut in_url = None;
        for text in get("url").unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let mut url =
                Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            let Some(url) = &mut url else {
                return Err(bad("url", "the registry's address is needed, as http://host:port"));
            };
            if !url.username().is_empty() {
                let password = url.password().unwrap_or_default();
                let part = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                in_url = in_url.or(Some((part(url.username()), part(password))));
            }
            // An address with a host takes both.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            urls.push(url.clone());
        }
        if urls.is_empty() {
            return Err(bad("url", "the registry's address is needed, as http://host:port"));
        }
        let credentials = match (get("basic-auth.user-info"), get("bearer-auth.token"), in_url) {
            (Some(_), Some(_), _) => {
                return Err(bad("bearer-auth.token", "'basic-auth.user-info' is given too: one of both is enough"));
            }
            (Some(text), None, _) => match text.split_once(':') {
                Some((user, password)) => Credentials::Basic { user: user.to_owned(), password: password.to_owned() },
                None => return Err(bad("basic-auth.user-info", "it is user:password")),
            },
            (None, Some(token), _) => Credentials::Bearer(token.to_owned()),
            (None, None, Some((user, password))) => Credentials::Basic { user, password },
            (None, None, None) => Credentials::None,
        };
        for (source, expected, option, is_there) in [
            (
                "basic-auth.credentials-source",
                &["USER_INFO", "URL"][..],
                "basic-auth.user-info",
                matches!(credentials, Credentials::Basic { .. }),
            ),
            (
                "bearer-auth.credentials-source",
                &["STATIC_TOKEN"][..],
                "bearer-auth.token",
                matches!(credentials, Credentials::Bearer(_)),
            ),
        ] {
            match get(source) {
                Some(text) if !expected.contains(&text) => {
                    return Err(options::bad(table, &name(source), format!("it is {}", expected.join(" or "))));
                }
                Some(_) if !is_there => {
                    return Err(bad(option, &format!("'{}' says that there are credentials", name(source))));
                }
                _ => {}
            }
        }
        for (option, detail) in [
            ("ssl.truststore.password", "certificates are read in PEM, without a password: leave it out"),
            (
                "ssl.keystore.password",
                "the key is read in PEM, without a password: take it off (openssl pkey -in <file> -out <file>) and leave \
                 the option out",
            ),
        ] {
            if get(option).is_some() {
                return Err(bad(option, detail));
            }
        }
        Ok(Self {
            urls,
            credentials,
            trusted: get("ssl.truststore.location").map(str::to_owned),
            identity: get("ssl.keystore.location").map(str::to_owned),
            patience: options::duration(table, &name("retry-timeout"))?.unwrap_or(PATIENCE),
        })
    }

    /// Its addresses, for people.
    pub fn place(&self) -> String {
        self.urls.iter().map(|url| url.as_str().trim_end_matches('/')).collect::<Vec<_>>().join(", ")
    }
}
