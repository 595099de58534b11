//! Log-in by SASL: PLAIN (RFC 4616), SCRAM (RFC 5802) and OAUTHBEARER (RFC 7628).

use crate::kafka::client::{KafkaFault, Properties};
use crate::kafka::oauth::{OAUTHBEARER, Tokens, refused_token};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// How a client logs in, and as whom.
pub(super) enum Mechanism {
    Password { kind: Kind, user: String, password: String },
    Token(Tokens),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Scram256,
    Scram512,
}

impl Mechanism {
    pub fn of(properties: &Properties) -> Result<Self, KafkaFault> {
        if let Some(tokens) = Tokens::of(properties).map_err(|fault| KafkaFault::new(fault.to_string()))? {
            return Ok(Self::Token(tokens));
        }
        let get = |key: &str| properties.get(key).cloned().unwrap_or_default();
        let name = get("sasl.mechanisms");
        let kind = match name.as_str() {
            "PLAIN" => Kind::Plain,
            "SCRAM-SHA-256" => Kind::Scram256,
            "SCRAM-SHA-512" => Kind::Scram512,
            _ => {
                return Err(KafkaFault::new(format!(
                    "'properties.sasl.mechanism' = '{name}': transactions are finished by PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or \
                     OAUTHBEARER only; use one of these, or another 'sink.delivery-guarantee'"
                )));
            }
        };
        Ok(Self::Password { kind, user: get("sasl.username"), password: get("sasl.password") })
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Password { kind: Kind::Plain, .. } => "PLAIN",
            Self::Password { kind: Kind::Scram256, .. } => "SCRAM-SHA-256",
            Self::Password { kind: Kind::Scram512, .. } => "SCRAM-SHA-512",
            Self::Token(_) => OAUTHBEARER,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    First,
    /// The first message was sent, without its header.
    Challenged(String),
    /// The proof was sent; the broker must show that it knows the password too.
    Proved(Vec<u8>),
    /// The token was sent.
    Shown,
    Done,
}

/// One log-in.
pub(super) struct Conversation<'a> {
    mechanism: &'a Mechanism,
    nonce: String,
    stage: Stage,
}

impl<'a> Conversation<'a> {
    pub fn new(mechanism: &'a Mechanism) -> Self {
        // Every `RandomState` has fresh keys of the operating system.
        let random = || RandomState::new().build_hasher().finish();
        Self { mechanism, nonce: format!("{:016x}{:016x}", random(), random()), stage: Stage::First }
    }

    /// What to send next, or `None` when it is over. `received`: what came for the last message.
    pub fn next(&mut self, received: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
        let received = std::str::from_utf8(received.unwrap_or_default()).map_err(|_| "an answer that is no text")?;
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::First => match self.mechanism {
                Mechanism::Password { kind: Kind::Plain, user, password } => {
                    Ok(Some(format!("\0{user}\0{password}").into_bytes()))
                }
                Mechanism::Password { user, .. } => {
                    let user = user.replace('=', "=3D").replace(',', "=2C");
                    let bare = format!("n={user},r={}", self.nonce);
                    let message = format!("n,,{bare}");
                    self.stage = Stage::Challenged(bare);
                    Ok(Some(message.into_bytes()))
                }
                Mechanism::Token(tokens) => {
                    let token = tokens.wait().map_err(|fault| fault.detail)?;
                    self.stage = Stage::Shown;
                    Ok(Some(shown(&token.text, tokens.extensions())))
                }
            },
            Stage::Challenged(first) => {
                let Mechanism::Password { kind, password, .. } = self.mechanism else {
                    return Err("a challenge that is none".to_owned());
                };
                let (message, signature) = match kind {
                    Kind::Scram512 => prove::<Scram512>(password, &self.nonce, &first, received)?,
                    _ => prove::<Scram256>(password, &self.nonce, &first, received)?,
                };
                self.stage = Stage::Proved(signature);
                Ok(Some(message.into_bytes()))
            }
            Stage::Shown if received.is_empty() => Ok(None),
            // More than the outcome is not said to who did not log in.
            Stage::Shown => {
                let said: String = received.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
                let place = match self.mechanism {
                    Mechanism::Token(tokens) => tokens.place(),
                    Mechanism::Password { .. } => String::new(),
                };
                Err(format!("{said}: {}", refused_token(&place)))
            }
            Stage::Proved(signature) => match field(received, 'v').and_then(|v| STANDARD.decode(v).ok()) {
                Some(found) if found == signature => Ok(None),
                _ => Err("the broker does not know the password: it is not the one it claims to be".to_owned()),
            },
            Stage::Done => Ok(None),
        }
    }
}

/// The most characters that are shown of what a broker says of a token.
const MOST_SAID: usize = 200;

/// The message that shows a token (RFC 7628, section 3.1).
fn shown(token: &str, extensions: &[(String, String)]) -> Vec<u8> {
    let extensions: String = extensions.iter().map(|(name, value)| format!("{name}={value}\x01")).collect();
    format!("n,,\x01auth=Bearer {token}\x01{extensions}\x01").into_bytes()
}

/// A hash function of SCRAM.
trait ScramHash {
    fn hmac(key: &[u8], data: &[u8]) -> Vec<u8>;
    fn hash(data: &[u8]) -> Vec<u8>;
}

struct Scram256;
struct Scram512;

impl ScramHash for Scram256 {
    fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    }

    fn hash(data: &[u8]) -> Vec<u8> {
        Sha256::digest(data).to_vec()
    }
}

impl ScramHash for Scram512 {
    fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("a key of any length is taken");
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    }

    fn hash(data: &[u8]) -> Vec<u8> {
        Sha512::digest(data).to_vec()
    }
}

/// The most rounds that a broker may ask for: more would keep the thread busy for seconds.
const MOST_ROUNDS: u32 = 1_000_000;

/// The client's last message, and the signature that the broker must answer.
fn prove<H: ScramHash>(password: &str, nonce: &str, first: &str, challenge: &str) -> Result<(String, Vec<u8>), String> {
    let missing = || "a challenge that is none".to_owned();
    let joint = field(challenge, 'r').filter(|r| r.starts_with(nonce)).ok_or_else(missing)?;
    let salt = field(challenge, 's').and_then(|s| STANDARD.decode(s).ok()).ok_or_else(missing)?;
    let rounds: u32 = field(challenge, 'i').and_then(|i| i.parse().ok()).ok_or_else(missing)?;
    if rounds == 0 || rounds > MOST_ROUNDS {
        return Err(format!("the broker asks for {rounds} rounds of hashing"));
    }
    // PBKDF2 with one block (RFC 5802: Hi).
    let mut round = H::hmac(password.as_bytes(), &[salt.as_slice(), &[0, 0, 0, 1]].concat());
    let mut salted = round.clone();
    for _ in 1..rounds {
        round = H::hmac(password.as_bytes(), &round);
        salted.iter_mut().zip(&round).for_each(|(s, r)| *s ^= r);
    }
    let client_key = H::hmac(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={joint}");
    let signed = format!("{first},{challenge},{without_proof}");
    let signature = H::hmac(&H::hash(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(k, s)| k ^ s).collect();
    let server_signature = H::hmac(&H::hmac(&salted, b"Server Key"), signed.as_bytes());
    Ok((format!("{without_proof},p={}", STANDARD.encode(proof)), server_signature))
}

fn field(message: &str, name: char) -> Option<&str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mechanism(kind: Kind, user: &str, password: &str) -> Mechanism {
        Mechanism::Password { kind, user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn plain_is_one_message() {
        let mechanism = mechanism(Kind::Plain, "me", "secret");
        let mut conversation = Conversation::new(&mechanism);
        assert_eq!(conversation.next(None), Ok(Some(b"\0me\0secret".to_vec())));
        assert_eq!(conversation.next(Some(b"")), Ok(None));
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn scram_is_that_of_the_standard() {
        let mechanism = mechanism(Kind::Scram256, "user", "pencil");
        let mut conversation = Conversation::new(&mechanism);
        conversation.nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.expect("a message")).expect("a text");
        assert_eq!(text(conversation.next(None).expect("begins")), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            text(conversation.next(Some(challenge.as_bytes())).expect("goes on")),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let answer = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(conversation.next(Some(answer.as_bytes())), Ok(None));
    }

    #[test]
    fn a_token_is_shown_with_its_extensions_and_a_refusal_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        // It ends in the year 5138.
        std::fs::write(&path, "e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.x").expect("written");
        let url = format!("file://{}", path.display());
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", &url),
            ("sasl.oauthbearer.extensions", "a=1\nb=x y"),
        ];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let mechanism = Mechanism::of(&properties).expect("usable");
        assert_eq!(mechanism.name(), "OAUTHBEARER");
        let expected = b"n,,\x01auth=Bearer e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.x\x01a=1\x01b=x y\x01\x01".to_vec();
        let mut conversation = Conversation::new(&mechanism);
        assert_eq!(conversation.next(None), Ok(Some(expected.clone())));
        assert_eq!(conversation.next(Some(b"")), Ok(None));
        let mut conversation = Conversation::new(&mechanism);
        assert_eq!(conversation.next(None), Ok(Some(expected)));
        let error = conversation.next(Some(b"{\"status\":\"invalid_token\"}")).expect_err("refused");
        assert!(error.starts_with("{\"status\":\"invalid_token\"}: the brokers refuse the token of "), "{error}");
        assert!(error.contains(&*path.to_string_lossy()) && !error.contains("eyJl"), "{error}");
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_refused() {
        let mechanism = mechanism(Kind::Scram512, "u", "p");
        let mut conversation = Conversation::new(&mechanism);
        conversation.next(None).expect("begins");
        let challenge = format!("r={}x,s=QQ==,i=2", conversation.nonce);
        conversation.next(Some(challenge.as_bytes())).expect("goes on");
        let error = conversation.next(Some(b"v=QQ==")).expect_err("another signature");
        assert!(error.contains("does not know the password"), "{error}");
        let mut conversation = Conversation::new(&mechanism);
        conversation.next(None).expect("begins");
        let error = conversation.next(Some(b"r=other,s=QQ==,i=2")).expect_err("another nonce");
        assert!(error.contains("a challenge that is none"), "{error}");
    }
}
