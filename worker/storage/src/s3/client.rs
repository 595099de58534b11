//! The client: where the server is, who asks, how long an answer may take.

use aws_config::BehaviorVersion;
use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};

/// Attempts that the client makes of one request before it reports a failure.
const ATTEMPTS: u32 = 4;

/// Pauses between these attempts, at random up to so much.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Of one attempt; a part of 5 MiB takes 20 seconds at 2 Mbit/s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Of all attempts of one request.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Used if neither option nor environment names one: servers other than S3 mostly do not mind.
const DEFAULT_REGION: &str = "us-east-1";

/// How objects are encrypted by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With the server's own keys (SSE-S3).
    Aes256,
    /// With a key of the key management service (SSE-KMS).
    Kms {
        /// The key's id; the account's default key if absent.
        key: Option<String>,
    },
}

/// What the server is to check of what it gets, and to keep with the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-32.
    Crc32,
    /// CRC-32 with Castagnoli's polynomial.
    Crc32c,
    /// SHA-256.
    Sha256,
}

impl From<Checksum> for ChecksumAlgorithm {
    fn from(checksum: Checksum) -> Self {
        match checksum {
            Checksum::Crc32 => Self::Crc32,
            Checksum::Crc32c => Self::Crc32C,
            Checksum::Sha256 => Self::Sha256,
        }
    }
}

/// How to reach S3. What is absent comes from the environment, as for every program that uses AWS.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// The server's URL.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The bucket's name is in the URL's path, not in its host; if absent, so it is with an endpoint of one's own.
    pub path_style: Option<bool>,
    /// Key and secret.
    pub credentials: Option<(String, String)>,
    /// How objects are encrypted by the server.
    pub encryption: Option<Encryption>,
    /// Checksum of what is uploaded; if absent, none but the connection's.
    pub checksum: Option<Checksum>,
    /// A request that fails in a way that may pass is made again for so long.
    pub patience: Duration,
}

impl fmt::Debug for S3Options {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("has_credentials", &self.credentials.is_some())
            .field("encryption", &self.encryption)
            .field("checksum", &self.checksum)
            .field("patience", &self.patience)
            .finish()
    }
}

/// Clients of this process: making one reads certificates and looks for credentials, and its connections can be shared.
static MADE: Mutex<Vec<(S3Options, aws_sdk_s3::Client)>> = Mutex::const_new(Vec::new());

/// Made at the first request.
pub(super) struct Client {
    options: S3Options,
    made: OnceCell<aws_sdk_s3::Client>,
}

impl Client {
    pub const fn new(options: S3Options) -> Self {
        Self { options, made: OnceCell::const_new() }
    }

    pub async fn get(&self) -> &aws_sdk_s3::Client {
        self.made.get_or_init(|| made(&self.options)).await
    }

    /// The checksum of what is uploaded.
    pub const fn checksum(&self) -> Option<Checksum> {
        self.options.checksum
    }

    /// The kind of encryption and the key that a new object asks for.
    pub fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.options.encryption {
            None => (None, None),
            Some(Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Kms { key }) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }
}

async fn made(options: &S3Options) -> aws_sdk_s3::Client {
    let mut all = MADE.lock().await;
    // Patience is none of the client's.
    let options = S3Options { patience: Duration::ZERO, ..options.clone() };
    if let Some((_, client)) = all.iter().find(|(known, _)| *known == options) {
        return client.clone();
    }
    let client = make(&options).await;
    all.push((options, client.clone()));
    client
}

async fn make(options: &S3Options) -> aws_sdk_s3::Client {
    let region = RegionProviderChain::first_try(options.region.clone().map(Region::new)).or_default_provider();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.or_else(DEFAULT_REGION))
        .retry_config(retries)
        .timeout_config(timeouts);
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some((key, secret)) = &options.credentials {
        loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "options"));
    }
    let shared = loader.load().await;
    let has_endpoint = shared.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(options.path_style.unwrap_or(has_endpoint))
        // Servers other than S3 do not all know checksums: they are asked for, by an option. Without this the client names the
        // algorithm, and leaves the checksum out.
        .request_checksum_calculation(match options.checksum {
            Some(_) => RequestChecksumCalculation::WhenSupported,
            None => RequestChecksumCalculation::WhenRequired,
        })
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_never_show_a_secret() {
        let credentials = Some(("the-key".to_owned(), "the-secret".to_owned()));
        let shown = format!("{:?}", S3Options { credentials, ..S3Options::default() });
        assert!(!shown.contains("the-secret") && shown.contains("has_credentials: true"), "{shown}");
    }
}
