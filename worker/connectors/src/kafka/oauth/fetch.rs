//! Gets a token, once.

use super::settings::{Endpoint, Source, Trusted};
use super::token::Token;
use crate::http;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use reqwest::{StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};
use tracing::warn;

/// The most bytes of an answer or of a file.
const MOST_BYTES: u64 = 1 << 20;

/// The most characters that are shown of what an endpoint says.
const MOST_SAID: usize = 200;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenFault {
    /// Trying again does not mend it.
    pub is_lasting: bool,
    /// Without secrets.
    pub detail: String,
}

impl TokenFault {
    fn lasting(detail: impl Into<String>) -> Self {
        Self { is_lasting: true, detail: detail.into() }
    }

    fn passing(detail: impl Into<String>) -> Self {
        Self { is_lasting: false, detail: detail.into() }
    }
}

/// What an endpoint answers (RFC 6749, section 5).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds; some write them as a text.
    #[serde(default)]
    expires_in: Option<Value>,
}

/// Ready to ask.
pub(super) enum Fetcher<'a> {
    File(&'a Path),
    Endpoint(&'a Endpoint, Client),
}

impl<'a> Fetcher<'a> {
    pub fn new(source: &'a Source) -> Result<Self, TokenFault> {
        match source {
            Source::File(path) => Ok(Self::File(path)),
            Source::Endpoint(endpoint) => {
                Ok(Self::Endpoint(endpoint, client_of(endpoint).map_err(TokenFault::lasting)?))
            }
        }
    }

    /// A token that lives.
    pub fn fetch(&self) -> Result<Token, TokenFault> {
        let token = match self {
            Self::File(path) => read(path)?,
            Self::Endpoint(endpoint, client) => ask(endpoint, client)?,
        };
        if token.is_alive() {
            return Ok(token);
        }
        Err(TokenFault::passing("the token's life is over: is it renewed there, and do the clocks agree?"))
    }
}

fn client_of(endpoint: &Endpoint) -> Result<Client, String> {
    if endpoint.url.scheme() == "http" {
        warn!(
            endpoint = endpoint.url.host_str(),
            "the client's secret goes to the token endpoint without encryption: better use https"
        );
    }
    let pem;
    let trusted = match &endpoint.trusted {
        None => None,
        Some(Trusted::File(path)) => {
            pem = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            Some((pem.as_slice(), path.as_str()))
        }
        Some(Trusted::Text(text)) => Some((text.as_bytes(), "'properties.https.ca.pem'")),
    };
    // A secret goes where the user sends it, and nowhere else.
    let builder = http::client(trusted)?.redirect(Policy::none());
    builder.build().map_err(|error| format!("the client cannot be made: {error}"))
}

fn read(path: &Path) -> Result<Token, TokenFault> {
    let fault = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => TokenFault::lasting(error.to_string()),
        _ => TokenFault::passing(error.to_string()),
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)).map_err(fault)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(TokenFault::lasting(format!("it is no token: it has more than {MOST_BYTES} bytes")));
    }
    let text = String::from_utf8_lossy(&bytes);
    // Who writes it may be in the midst of it.
    Token::of(text.trim(), None, Instant::now()).map_err(TokenFault::passing)
}

fn ask(endpoint: &Endpoint, client: &Client) -> Result<Token, TokenFault> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut body = "grant_type=client_credentials".to_owned();
    if let Some(scope) = &endpoint.scope {
        body = format!("{body}&scope={}", encoded(scope));
    }
    let Endpoint { client_id: id, client_secret: secret, .. } = endpoint;
    let (id, shown) = if endpoint.is_encoded { (encoded(id), encoded(secret)) } else { (id.clone(), secret.clone()) };
    let request = client
        .post(endpoint.url.clone())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .basic_auth(&id, Some(&shown))
        .body(body);
    // Its life begins at the latest when it was asked for.
    let now = Instant::now();
    let (status, bytes) = http::exchange(request, MOST_BYTES).map_err(TokenFault::passing)?;
    if status.is_success() {
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| {
            TokenFault::lasting(
                "the answer is none of a token endpoint's (JSON with `access_token`): check the address",
            )
        })?;
        let life = answer.expires_in.as_ref().and_then(seconds);
        return Token::of(&answer.access_token, life, now).map_err(TokenFault::lasting);
    }
    let log_in = STANDARD.encode(format!("{id}:{shown}"));
    Err(refusal(status, &bytes, &[secret, &shown, &log_in]))
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn refusal(status: StatusCode, bytes: &[u8], secrets: &[&str]) -> TokenFault {
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let said: Vec<&str> = ["error", "error_description"].iter().filter_map(|key| answer[key].as_str()).collect();
    // An endpoint may repeat what it was sent.
    let said = secrets.iter().fold(said.join(": "), |said, secret| said.replace(secret, "(hidden)"));
    let said: String = said.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
    let said = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TokenFault::lasting(format!(
            "the client's credentials are refused ({said}): check `clientId` and `clientSecret` in \
             'properties.sasl.jaas.config'"
        )),
        StatusCode::BAD_REQUEST => TokenFault::lasting(format!(
            "the request is refused ({said}): check `clientId`, `clientSecret` and `scope` in 'properties.sasl.jaas.config'"
        )),
        status if http::may_pass(status) => TokenFault::passing(said),
        status if status.is_redirection() => TokenFault::lasting(format!(
            "it sends the request elsewhere ({said}), which is not followed: name the address itself"
        )),
        _ => TokenFault::lasting(format!("no token endpoint answers there ({said}): check the address")),
    }
}
