//! TLS with the settings that librdkafka takes.

use super::ProtocolError;
use crate::kafka::client::{KafkaFault, Properties};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A connection's bytes.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Settings that would weaken or change what is checked, and that only librdkafka follows.
const NOT_FOLLOWED: [(&str, &str); 4] = [
    ("enable.ssl.certificate.verification", "true"),
    ("ssl.endpoint.identification.algorithm", "https"),
    ("ssl.key.password", ""),
    ("ssl.keystore.password", ""),
];

/// Which certificates are trusted, and the client's own.
pub(super) struct Config(Arc<ClientConfig>);

impl Config {
    pub fn of(properties: &Properties) -> Result<Self, KafkaFault> {
        for (key, only) in NOT_FOLLOWED {
            if properties.get(key).is_some_and(|value| value != only) {
                return Err(KafkaFault::new(format!(
                    "'properties.{key}': transactions are finished without this setting; leave it out, or use another \
                     'sink.delivery-guarantee'"
                )));
            }
        }
        let mut roots = RootCertStore::empty();
        let own = certificates(properties, "ssl.ca.location", "ssl.ca.pem")?;
        if own.is_empty() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        } else {
            let (_, bad) = roots.add_parsable_certificates(own);
            if bad > 0 {
                return Err(KafkaFault::new(format!(
                    "'properties.ssl.ca.location': {bad} certificates cannot be read"
                )));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| KafkaFault::new(format!("TLS cannot be used: {error}")))?
            .with_root_certificates(roots);
        let chain = certificates(properties, "ssl.certificate.location", "ssl.certificate.pem")?;
        let config = if chain.is_empty() {
            builder.with_no_client_auth()
        } else {
            let key = key(properties)?;
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|error| KafkaFault::new(format!("'properties.ssl.certificate.location': {error}")))?
        };
        Ok(Self(Arc::new(config)))
    }

    pub fn wrap(&self, stream: TcpStream, host: &str) -> Result<Stream, ProtocolError> {
        let fault = |detail: String| ProtocolError::Lasting(KafkaFault::new(format!("{host}: TLS: {detail}")));
        let name = ServerName::try_from(host.to_owned()).map_err(|error| fault(error.to_string()))?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| fault(error.to_string()))?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, stream))))
    }
}

fn certificates(
    properties: &Properties,
    location: &str,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, KafkaFault> {
    let unread = |key: &str, error: rustls::pki_types::pem::Error| {
        KafkaFault::new(format!("'properties.{key}' cannot be read: {error}"))
    };
    if let Some(path) = properties.get(location) {
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        return found.map_err(|error| unread(location, error));
    }
    let Some(pem) = properties.get(text) else { return Ok(Vec::new()) };
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| unread(text, error))
}

fn key(properties: &Properties) -> Result<PrivateKeyDer<'static>, KafkaFault> {
    let (name, found) = match (properties.get("ssl.key.location"), properties.get("ssl.key.pem")) {
        (Some(path), _) => ("ssl.key.location", PrivateKeyDer::from_pem_file(path)),
        (None, Some(pem)) => ("ssl.key.pem", PrivateKeyDer::from_pem_slice(pem.as_bytes())),
        (None, None) => {
            return Err(KafkaFault::new("'properties.ssl.key.location' is needed with a certificate of one's own"));
        }
    };
    found.map_err(|error| KafkaFault::new(format!("'properties.{name}' cannot be read: {error}")))
}
