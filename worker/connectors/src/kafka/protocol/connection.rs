//! Requests and answers over one connection to a broker.

use super::sasl::{self, Mechanism};
use super::tls::{self, Stream};
use crate::kafka::client::{KafkaFault, Properties};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long to wait for a connection, and for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is taken.
const MOST_BYTES: usize = 64 << 20;

const CLIENT_ID: &str = "streamfleet";

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum ProtocolError {
    /// The connection failed: another try may help.
    #[error("{address}: {source}")]
    Io { address: String, source: std::io::Error },
    /// What came is no answer.
    #[error("{address}: an answer that cannot be read: {detail}")]
    Malformed { address: String, detail: String },
    /// The broker does not know the request.
    #[error("{address}: the broker knows no request {name}")]
    Unknown { address: String, name: &'static str },
    /// Trying again does not help.
    #[error(transparent)]
    Lasting(#[from] KafkaFault),
}

/// Connections to the brokers of a cluster.
pub(in crate::kafka) struct Client {
    tls: Option<tls::Config>,
    mechanism: Option<Mechanism>,
    /// The addresses that the user named.
    pub bootstrap: Vec<String>,
    connections: HashMap<String, Connection>,
}

impl Client {
    /// # Errors
    /// The properties ask for something that this client does not do, or name files that cannot be read.
    pub fn new(properties: &Properties) -> Result<Self, KafkaFault> {
        let protocol = properties.get("security.protocol").map_or("plaintext", String::as_str);
        let (tls, sasl) = match protocol {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            other => {
                return Err(KafkaFault::new(format!(
                    "'properties.security.protocol' = '{other}': it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
                )));
            }
        };
        let brokers = properties.get("bootstrap.servers").map_or("", String::as_str);
        Ok(Self {
            tls: if tls { Some(tls::Config::of(properties)?) } else { None },
            mechanism: if sasl { Some(Mechanism::of(properties)?) } else { None },
            bootstrap: brokers.split(',').map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect(),
            connections: HashMap::new(),
        })
    }

    /// Asks a broker. A connection that failed is made anew the next time.
    pub fn ask<R: Request>(
        &mut self,
        address: &str,
        name: &'static str,
        newest: i16,
        request: &R,
    ) -> Result<R::Response, ProtocolError> {
        let mut connection = match self.connections.remove(address) {
            Some(connection) if !connection.is_over() => connection,
            _ => self.connect(address)?,
        };
        let answer = connection.ask_known(name, newest, request)?;
        self.connections.insert(address.to_owned(), connection);
        Ok(answer)
    }

    fn connect(&self, address: &str) -> Result<Connection, ProtocolError> {
        let io = |source| ProtocolError::Io { address: address.to_owned(), source };
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        let mut last = missing();
        let mut connected = None;
        for target in address.to_socket_addrs().map_err(io)? {
            match TcpStream::connect_timeout(&target, TIMEOUT) {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let stream = connected.ok_or(last).map_err(io)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(io)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(config) => config.wrap(stream, host)?,
        };
        let mut connection =
            Connection { address: address.to_owned(), stream, next_id: 0, versions: HashMap::new(), ends: None };
        let versions = connection.ask("ApiVersions", 0, &ApiVersionsRequest::default())?;
        connection.versions = versions.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        if let Some(mechanism) = &self.mechanism {
            connection.log_in(mechanism)?;
        }
        Ok(connection)
    }
}

struct Connection {
    address: String,
    stream: Stream,
    next_id: i32,
    /// By request, the oldest and newest version that the broker knows.
    versions: HashMap<i16, (i16, i16)>,
    /// When the log-in must be repeated: the broker hangs up if anything else comes later.
    ends: Option<Instant>,
}

impl Connection {
    fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| Instant::now() >= ends)
    }

    /// Asks in the newest version that both sides know, `newest` at the most.
    fn ask_known<R: Request>(
        &mut self,
        name: &'static str,
        newest: i16,
        request: &R,
    ) -> Result<R::Response, ProtocolError> {
        let unknown = || ProtocolError::Unknown { address: self.address.clone(), name };
        let (oldest, broker_newest) = self.versions.get(&R::KEY).copied().ok_or_else(unknown)?;
        let version = newest.min(broker_newest).min(R::VERSIONS.max);
        if version < oldest.max(R::VERSIONS.min) {
            return Err(unknown());
        }
        self.ask(name, version, request)
    }

    fn ask<R: Request>(&mut self, name: &str, version: i16, request: &R) -> Result<R::Response, ProtocolError> {
        self.next_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next_id)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
        let address = self.address.clone();
        let malformed =
            |detail: String| ProtocolError::Malformed { address: address.clone(), detail: format!("{name}: {detail}") };
        let mut body = BytesMut::new();
        header.encode(&mut body, R::header_version(version)).map_err(|e| malformed(e.to_string()))?;
        request.encode(&mut body, version).map_err(|e| malformed(e.to_string()))?;
        let mut framed = BytesMut::with_capacity(body.len() + 4);
        framed.put_u32(body.len() as u32);
        framed.extend_from_slice(&body);
        let answer = self.exchange(&framed).map_err(|source| ProtocolError::Io { address: address.clone(), source })?;
        let mut answer = Bytes::from(answer);
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|e| malformed(e.to_string()))?;
        if header.correlation_id != self.next_id {
            return Err(malformed("it answers another request".to_owned()));
        }
        R::Response::decode(&mut answer, version).map_err(|e| malformed(e.to_string()))
    }

    fn exchange(&mut self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = (&length[..]).get_u32() as usize;
        if length > MOST_BYTES {
            let text = format!("an answer of {length} bytes; does the port speak this 'properties.security.protocol'?");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    fn log_in(&mut self, mechanism: &Mechanism) -> Result<(), ProtocolError> {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism.name()));
        let answer = self.ask_known("SaslHandshake", 1, &handshake)?;
        if answer.error_code != 0 {
            let offered: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            return Err(ProtocolError::Lasting(KafkaFault::new(format!(
                "{}: the broker takes no log-in by {}; it offers {}",
                self.address,
                mechanism.name(),
                offered.join(", ")
            ))));
        }
        let mut conversation = sasl::Conversation::new(mechanism);
        let mut received: Option<Bytes> = None;
        loop {
            let next = conversation.next(received.as_deref());
            let next = next.map_err(|detail| KafkaFault::new(format!("{}: log-in: {detail}", self.address)))?;
            let Some(bytes) = next else { return Ok(()) };
            let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes.into());
            let answer = self.ask_known("SaslAuthenticate", 2, &request)?;
            if answer.error_code != 0 {
                let text = answer.error_message.map_or_else(String::new, |m| format!(" ({})", m.as_str()));
                return Err(ProtocolError::Lasting(KafkaFault::new(format!(
                    "{}: the broker refuses the credentials{text}: check 'properties.sasl.*'",
                    self.address
                ))));
            }
            // A tenth earlier, as the answer was under way too.
            let life = u64::try_from(answer.session_lifetime_ms).ok().filter(|life| *life > 0);
            self.ends = life.map(|life| Instant::now() + Duration::from_millis(life / 10 * 9));
            received = Some(answer.auth_bytes);
        }
    }
}
