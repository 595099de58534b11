//! What a table says of tokens, by the names of Kafka's Java client or of librdkafka.

use crate::kafka::client::Properties;
use crate::options::{bad, hidden};
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

pub(super) const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
pub(super) const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
pub(super) const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
pub(super) const SCOPE: &str = "sasl.oauthbearer.scope";
/// One `key=value` a line.
pub(super) const EXTENSIONS: &str = "sasl.oauthbearer.extensions";
pub(super) const ENCODED: &str = "sasl.oauthbearer.header.urlencode";
pub(super) const TRUSTED_FILE: &str = "https.ca.location";
pub(super) const TRUSTED: &str = "https.ca.pem";

/// Properties that librdkafka is not told.
pub(in crate::kafka) const OWN: [&str; 8] =
    [ENDPOINT, CLIENT_ID, CLIENT_SECRET, SCOPE, EXTENSIONS, ENCODED, TRUSTED_FILE, TRUSTED];

/// Kafka's class that gets tokens in this way, in its versions before 4 and since.
const CALLBACK_HANDLERS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];

/// Its classes that get and check a token as it is done here.
const RETRIEVERS: [&str; 3] = [
    "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
    "org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
    "org.apache.kafka.common.security.oauthbearer.FileJwtRetriever",
];
const VALIDATORS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    "org.apache.kafka.common.security.oauthbearer.ClientJwtValidator",
];

/// Takes a setting of tokens; false if it is none.
pub(in crate::kafka) fn translate(
    table: &TableDescriptor,
    option: &str,
    key: &str,
    value: &str,
    properties: &mut Properties,
) -> Result<bool, DataflowError> {
    let only = |values: &[&str], detail: &str| match values.contains(&value) {
        true => Ok(true),
        false => Err(bad(table, option, detail)),
    };
    let key = match key {
        "sasl.login.callback.handler.class" => {
            return only(
                &CALLBACK_HANDLERS,
                "a class of Java cannot be loaded: only Kafka's own OAuthBearerLoginCallbackHandler has a counterpart here",
            );
        }
        "sasl.oauthbearer.jwt.retriever.class" => {
            return only(
                &RETRIEVERS,
                "a class of Java cannot be loaded: only Kafka's own DefaultJwtRetriever, ClientCredentialsJwtRetriever and \
                 FileJwtRetriever have a counterpart here",
            );
        }
        "sasl.oauthbearer.jwt.validator.class" => {
            return only(&VALIDATORS, "a class of Java cannot be loaded: leave it out");
        }
        "sasl.oauthbearer.method" => {
            return only(&["oidc"], "only oidc is known: a token comes from an endpoint or out of a file");
        }
        "sasl.oauthbearer.grant.type" => {
            return only(&["client_credentials"], "only client_credentials is known");
        }
        "sasl.oauthbearer.client.credentials.client.id" => CLIENT_ID,
        "sasl.oauthbearer.client.credentials.client.secret" => CLIENT_SECRET,
        EXTENSIONS => {
            let one = |text: &str| text.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.to_owned()));
            let pairs = value.split(',').filter(|text| !text.trim().is_empty()).map(one);
            let Some(pairs) = pairs.collect::<Option<Vec<_>>>() else {
                return Err(hidden(table, option, "it is name=value,name=value"));
            };
            extend(table, option, &pairs, properties)?;
            return Ok(true);
        }
        ENCODED if !matches!(value, "true" | "false") => return Err(bad(table, option, "true or false is needed")),
        _ if OWN.contains(&key) => key,
        _ if key.starts_with("sasl.oauthbearer.") => {
            return Err(hidden(table, option, "it is not known here: leave it out"));
        }
        _ => return Ok(false),
    };
    properties.insert(key.to_owned(), value.to_owned());
    Ok(true)
}

/// Takes the fields of Kafka's `OAuthBearerLoginModule`.
pub(in crate::kafka) fn translate_jaas(
    table: &TableDescriptor,
    option: &str,
    fields: &[(&str, &str)],
    properties: &mut Properties,
) -> Result<(), DataflowError> {
    let mut extensions = Vec::new();
    for (name, value) in fields {
        let key = match *name {
            "clientId" => CLIENT_ID,
            "clientSecret" => CLIENT_SECRET,
            "scope" => SCOPE,
            "ssl.truststore.location" => TRUSTED_FILE,
            "ssl.truststore.certificates" => TRUSTED,
            "ssl.truststore.type" if value.eq_ignore_ascii_case("PEM") => continue,
            _ => match name.strip_prefix("extension_") {
                Some(extension) => {
                    extensions.push((extension.to_owned(), (*value).to_owned()));
                    continue;
                }
                // The value holds a secret: it must not be shown.
                None => {
                    let detail = format!(
                        "`{name}` in it is not known here: `clientId`, `clientSecret`, `scope`, `extension_..` and a \
                         truststore in PEM are"
                    );
                    return Err(hidden(table, option, &detail));
                }
            },
        };
        properties.insert(key.to_owned(), (*value).to_owned());
    }
    extend(table, option, &extensions, properties)
}

fn extend(
    table: &TableDescriptor,
    option: &str,
    pairs: &[(String, String)],
    properties: &mut Properties,
) -> Result<(), DataflowError> {
    if pairs.is_empty() {
        return Ok(());
    }
    for (name, value) in pairs {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic()) && name != "auth";
        if !is_name || !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(hidden(
                table,
                option,
                "the name of an extension is letters, and not `auth`; its value printable characters",
            ));
        }
    }
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    properties.insert(EXTENSIONS.to_owned(), lines.join("\n"));
    Ok(())
}
