//! A token and how long it lives.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// See the module.
pub(in crate::kafka) struct Token {
    /// What the brokers are shown: a secret.
    pub text: String,
    /// Whom it names; for people.
    pub principal: String,
    /// When the next one is to be got.
    pub due: Instant,
    /// When its life is over.
    pub ends: Instant,
}

/// The share of a token's life after which the next one is got, as the Java client does.
const RENEWED_AFTER: f64 = 0.8;

impl fmt::Debug for Token {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("principal", &self.principal).field("left", &self.left()).finish_non_exhaustive()
    }
}

/// What a token says of itself, if it is one of JSON (RFC 7519).
#[derive(Default, Deserialize)]
struct Claims {
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    sub: Option<Value>,
}

impl Token {
    /// `life`: how long it lives from `now` on, if who gave it says so; else it must say it itself, by the system's clock.
    pub fn of(text: &str, life: Option<Duration>, now: Instant) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("there is no token");
        }
        // Anything else could not be shown to a broker.
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)) {
            return Err("it is no token: one consists of letters, digits and -._~+/= only");
        }
        let claims = claims(text).unwrap_or_default();
        let life = match (life, claims.exp) {
            (Some(life), _) => life,
            (None, Some(exp)) => until(exp),
            (None, None) => return Err("nothing says how long the token lives: `exp` is not in it"),
        };
        let ends = now.checked_add(life).ok_or("the token lives for ever")?;
        let due = now + life.mul_f64(RENEWED_AFTER);
        let principal = match claims.sub {
            Some(Value::String(sub)) if !sub.is_empty() && !sub.contains('\0') => sub,
            _ => "unnamed".to_owned(),
        };
        Ok(Self { text: text.to_owned(), principal, due, ends })
    }

    /// What is left of its life.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// True if the next one should be there.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// True if it may be shown.
    pub fn is_alive(&self) -> bool {
        !self.left().is_zero()
    }
}

fn claims(text: &str) -> Option<Claims> {
    let mut parts = text.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}

/// From now until then, in seconds since the Unix epoch; zero if it is over.
fn until(then: f64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::try_from_secs_f64(then).map_or(Duration::ZERO, |then| then.saturating_sub(now))
}
