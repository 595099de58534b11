//! `sasl.jaas.config`: how users of Kafka's Java client say who logs in. `Module required username="u" password="p";`

use super::client::Properties;
use super::{oauth, properties};
use crate::options::hidden;
use streamfleet_dataflow::DataflowError;
use streamfleet_logical::TableDescriptor;

/// A class of Kafka's that logs in, and the mechanisms that it does it by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoginModule {
    class: &'static str,
    mechanisms: &'static [&'static str],
}

const TOKENS: LoginModule = LoginModule {
    class: "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
    mechanisms: &[oauth::OAUTHBEARER],
};

static MODULES: [LoginModule; 3] = [
    LoginModule { class: "org.apache.kafka.common.security.plain.PlainLoginModule", mechanisms: &["PLAIN"] },
    LoginModule {
        class: "org.apache.kafka.common.security.scram.ScramLoginModule",
        mechanisms: &["SCRAM-SHA-256", "SCRAM-SHA-512"],
    },
    TOKENS,
];

impl LoginModule {
    /// The class without its package, which differs where a build has moved Kafka's classes.
    fn name(&self) -> &'static str {
        self.class.rsplit('.').next().unwrap_or(self.class)
    }
}

/// The module that goes with a mechanism.
pub(super) fn module_of(mechanism: &str) -> Option<&'static LoginModule> {
    MODULES.iter().find(|module| module.mechanisms.contains(&mechanism))
}

/// Takes an entry. It holds a secret: nothing of it is shown but what is known to be none.
pub(super) fn translate(
    table: &TableDescriptor,
    option: &str,
    entry: &str,
    properties: &mut Properties,
) -> Result<(), DataflowError> {
    let class = entry.split_whitespace().next().and_then(|class| class.rsplit('.').next());
    let module = MODULES.iter().find(|module| class == Some(module.name()));
    check_fits(table, option, module)?;
    let fields = fields_of(entry);
    if module == Some(&TOKENS) {
        return oauth::translate_jaas(table, option, &fields, properties);
    }
    for (field, name) in [("username", "sasl.username"), ("password", "sasl.password")] {
        let Some((_, text)) = fields.iter().find(|(found, _)| *found == field) else {
            return Err(hidden(table, option, &format!("`{field}=\"..\"` is not in it")));
        };
        properties.insert(name.to_owned(), (*text).to_owned());
    }
    Ok(())
}

/// Refuses a module that is not the mechanism's: what it is told is not what the mechanism needs.
fn check_fits(table: &TableDescriptor, option: &str, module: Option<&LoginModule>) -> Result<(), DataflowError> {
    let Some((of, mechanism)) = properties::mechanism(table) else { return Ok(()) };
    let Some(needed) = module_of(&mechanism).filter(|needed| module != Some(*needed)) else { return Ok(()) };
    let detail = match module {
        Some(module) => format!(
            "`{}` in it goes with {}, and '{of}' = '{mechanism}' needs {}",
            module.name(),
            module.mechanisms.join(" or "),
            needed.class
        ),
        None => format!("it does not begin with the login module that '{of}' = '{mechanism}' needs: {}", needed.class),
    };
    Err(hidden(table, option, &detail))
}

/// The fields of an entry.
fn fields_of(text: &str) -> Vec<(&str, &str)> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.trim_end().rsplit(|c: char| c.is_whitespace() || c == ';').next().unwrap_or_default();
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let found = match quote {
            Some(quote) => after[1..].split_once(quote),
            None => Some(after.split_at(after.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(after.len()))),
        };
        // What is not closed is no field.
        let Some((value, behind)) = found else { break };
        fields.push((name, value));
        rest = behind;
    }
    fields
}

#[cfg(test)]
mod tests {
    use crate::kafka::properties::of;
    use crate::testing::table;

    #[test]
    fn a_login_module_that_is_not_the_mechanisms_is_told_with_the_one_that_is() {
        let said = |mechanism: &str, entry: &str| {
            let options = [
                ("connector", "kafka"),
                ("properties.bootstrap.servers", "b:9092"),
                ("properties.security.protocol", "SASL_SSL"),
                ("properties.sasl.mechanism", mechanism),
                ("properties.sasl.jaas.config", entry),
            ];
            of(&table(&[], &options)).map(|_| ()).map_err(|error| error.to_string())
        };
        let begins = |mechanism: &str, entry: &str, detail: &str| {
            let error = said(mechanism, entry).expect_err("refused");
            let expected = format!("table t: option 'properties.sasl.jaas.config' = '(hidden)': {detail}");
            assert_eq!(error, expected);
        };
        let packages = "org.apache.kafka.common.security";
        begins(
            "OAUTHBEARER",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username='u' password='hush';",
            &format!(
                "`PlainLoginModule` in it goes with PLAIN, and 'properties.sasl.mechanism' = 'OAUTHBEARER' needs \
                 {packages}.oauthbearer.OAuthBearerLoginModule"
            ),
        );
        begins(
            "plain",
            "org.apache.kafka.common.security.scram.ScramLoginModule required username='u' password='hush';",
            &format!(
                "`ScramLoginModule` in it goes with SCRAM-SHA-256 or SCRAM-SHA-512, and 'properties.sasl.mechanism' = \
                 'PLAIN' needs {packages}.plain.PlainLoginModule"
            ),
        );
        begins(
            "SCRAM-SHA-512",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientSecret='hush';",
            &format!(
                "`OAuthBearerLoginModule` in it goes with OAUTHBEARER, and 'properties.sasl.mechanism' = 'SCRAM-SHA-512' \
                 needs {packages}.scram.ScramLoginModule"
            ),
        );
        // A slip, or none at all: what stands there may be a secret.
        for entry in ["hush.OAuthBearerLoginModul required clientId='me';", "hush", "clientSecret='hush'", ""] {
            begins(
                "OAUTHBEARER",
                entry,
                &format!(
                    "it does not begin with the login module that 'properties.sasl.mechanism' = 'OAUTHBEARER' needs: \
                     {packages}.oauthbearer.OAuthBearerLoginModule"
                ),
            );
        }
        // Flink's own build has Kafka's classes in packages of its own.
        let moved = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.plain.PlainLoginModule required \
                     username=\"u\" password=\"hush\";";
        assert_eq!(said("PLAIN", moved), Ok(()));
        let error = said("AWS_MSK_IAM", "software.amazon.msk.auth.iam.IAMLoginModule required;").expect_err("refused");
        assert!(
            error.contains("'properties.sasl.mechanism' = 'AWS_MSK_IAM': it is not supported: use PLAIN"),
            "{error}"
        );
    }
}
