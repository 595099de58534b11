//! Where tokens come from, and what is shown beside them.

use super::OAUTHBEARER;
use super::options::{CLIENT_ID, CLIENT_SECRET, ENCODED, ENDPOINT, EXTENSIONS, SCOPE, TRUSTED, TRUSTED_FILE};
use crate::kafka::client::Properties;
use reqwest::Url;
use std::fmt;
use std::path::PathBuf;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::kafka) struct TokenSettings {
    pub(super) source: Source,
    /// Names and values that the brokers are shown beside the token.
    pub extensions: Vec<(String, String)>,
}

/// Who gives a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    File(PathBuf),
    Endpoint(Box<Endpoint>),
}

/// An endpoint that gives a token for a client's id and secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    pub url: Url,
    pub client_id: String,
    pub client_secret: String,
    pub scope: Option<String>,
    /// Id and secret are encoded as in a URL before they are put into the header, as RFC 6749 wants it and few do.
    pub is_encoded: bool,
    pub trusted: Option<Trusted>,
}

/// Certificates that are trusted instead of those of the system, in PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Trusted {
    File(String),
    Text(String),
}

/// A property that cannot be used. Its value may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'properties.{property}': {detail}")]
pub(in crate::kafka) struct TokenSettingsFault {
    pub property: &'static str,
    pub detail: &'static str,
}

impl fmt::Debug for TokenSettings {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSettings").field("source", &self.source.place()).finish_non_exhaustive()
    }
}

impl TokenSettings {
    /// What the properties say; `None` if log-in is by another mechanism, or there is none.
    pub fn of(properties: &Properties) -> Result<Option<Self>, TokenSettingsFault> {
        let get = |key: &str| properties.get(key).map(String::as_str).filter(|text| !text.is_empty());
        let has_log_in = get("security.protocol").is_some_and(|protocol| protocol.starts_with("sasl_"));
        if !has_log_in || get("sasl.mechanisms") != Some(OAUTHBEARER) {
            return Ok(None);
        }
        let fault = |property, detail| TokenSettingsFault { property, detail };
        let needed = |property: &'static str, detail| get(property).map(str::to_owned).ok_or(fault(property, detail));
        let url = Url::parse(&needed(ENDPOINT, "with OAUTHBEARER the address is needed that gives tokens")?);
        let wrong = || fault(ENDPOINT, "it is https://host/path, or file:///path of a token that somebody else renews");
        let url = url.map_err(|_| wrong())?;
        let source = match url.scheme() {
            "file" => Source::File(url.to_file_path().map_err(|()| wrong())?),
            "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
                return Err(fault(
                    ENDPOINT,
                    "credentials are not taken from the address: see 'properties.sasl.jaas.config'",
                ));
            }
            "http" | "https" if url.has_host() => Source::Endpoint(Box::new(Endpoint {
                url,
                client_id: needed(
                    CLIENT_ID,
                    "the client's id is needed, here or as `clientId` in 'properties.sasl.jaas.config'",
                )?,
                client_secret: needed(
                    CLIENT_SECRET,
                    "the client's secret is needed, here or as `clientSecret` in 'properties.sasl.jaas.config'",
                )?,
                scope: get(SCOPE).map(str::to_owned),
                is_encoded: get(ENCODED) == Some("true"),
                trusted: match (get(TRUSTED_FILE), get(TRUSTED)) {
                    (Some(path), _) => Some(Trusted::File(path.to_owned())),
                    (None, Some(pem)) => Some(Trusted::Text(pem.to_owned())),
                    (None, None) => None,
                },
            })),
            _ => return Err(wrong()),
        };
        let lines = get(EXTENSIONS).unwrap_or_default().lines();
        let extensions = lines.filter_map(|line| line.split_once('='));
        Ok(Some(Self { source, extensions: extensions.map(|(k, v)| (k.to_owned(), v.to_owned())).collect() }))
    }
}

impl Source {
    /// For people: an address without what may be secret in it.
    pub fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Endpoint(endpoint) => {
                let mut url = endpoint.url.clone();
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
        }
    }
}
