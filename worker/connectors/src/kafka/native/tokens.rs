//! Shows librdkafka's clients their tokens.
//!
//! The crate's own way, a callback that makes a token when librdkafka wants one, cannot show extensions, and would hold up the
//! thread that reads or writes while an endpoint is away. So whoever polls a client passes it the newest token; a client that
//! has none yet connects to nobody.

use crate::kafka::client::{KafkaFault, Properties};
use crate::kafka::oauth::{Token, Tokens, refused_token};
use rdkafka::bindings::{rd_kafka_oauthbearer_set_token, rd_kafka_resp_err_t};
use rdkafka::client::{Client, ClientContext};
use std::ffi::{CString, c_char};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

/// How often a client is shown its token that nobody asks anything.
pub(super) const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// How long after its first use a new token may be blamed for what brokers said of the one before.
const BLAMED_FOR: Duration = Duration::from_secs(10);

/// The tokens of one client, if it needs any.
#[derive(Debug, Default)]
pub(super) struct ShownTokens {
    tokens: Option<Arc<Tokens>>,
    last: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    token: Option<Arc<Token>>,
    /// When a token was shown whose predecessor's life was over.
    late: Option<Instant>,
}

/// The tokens that a client's properties ask for.
pub(super) fn tokens_of(properties: &Properties) -> Result<Option<Arc<Tokens>>, KafkaFault> {
    let tokens = Tokens::of(properties).map_err(|fault| KafkaFault::new(fault.to_string()))?;
    Ok(tokens.map(Arc::new))
}

impl ShownTokens {
    pub fn new(tokens: Option<Arc<Tokens>>) -> Arc<Self> {
        Arc::new(Self { tokens, last: Mutex::default() })
    }

    /// Waits for the first token: before it the client can do nothing.
    pub fn begin<C: ClientContext>(&self, client: &Client<C>) -> Result<(), KafkaFault> {
        if let Some(tokens) = &self.tokens {
            self.show(client, tokens, tokens.wait()?);
        }
        Ok(())
    }

    /// Shows a new token, if there is one. To be called while the client is used.
    pub fn renew<C: ClientContext>(&self, client: &Client<C>) -> Result<(), KafkaFault> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        if let Some(token) = tokens.newest()? {
            self.show(client, tokens, token);
        }
        Ok(())
    }

    fn show<C: ClientContext>(&self, client: &Client<C>, tokens: &Tokens, token: Arc<Token>) {
        let mut last = self.last();
        if last.token.as_ref().is_some_and(|last| Arc::ptr_eq(last, &token)) {
            return;
        }
        // It is not taken only if its life ended just now: then the next one is on its way.
        if set_token(client, &token, tokens.extensions()) {
            if last.token.as_ref().is_some_and(|last| !last.is_alive()) {
                last.late = Some(Instant::now());
            }
            last.token = Some(token);
        }
    }

    /// What is to be said of brokers that refuse a log-in; `None` if they were shown a token whose life was over, as after a
    /// long pause of the process or an outage of the endpoint: the client tries again with the next one.
    pub fn refused(&self, reason: &str) -> Option<String> {
        let Some(tokens) = &self.tokens else { return Some(reason.to_owned()) };
        let last = self.last();
        let is_old = last.token.as_ref().is_some_and(|token| !token.is_alive())
            || last.late.is_some_and(|late| late.elapsed() < BLAMED_FOR);
        (!is_old).then(|| format!("{reason}: {}", refused_token(&tokens.place())))
    }

    fn last(&self) -> MutexGuard<'_, Shown> {
        self.last.lock().expect("no holder of this lock panics")
    }
}

/// False if the client does not take it. Why is not told: the text may hold the token.
#[expect(unsafe_code, reason = "the function has no safe wrapper")]
fn set_token<C: ClientContext>(client: &Client<C>, token: &Token, extensions: &[(String, String)]) -> bool {
    let text = |text: &str| CString::new(text).ok();
    let pairs = extensions.iter().flat_map(|(name, value)| [text(name), text(value)]);
    let pairs: Option<Vec<CString>> = pairs.collect();
    let (Some(shown), Some(principal), Some(pairs)) = (text(&token.text), text(&token.principal), pairs) else {
        return false;
    };
    let mut pointers: Vec<*const c_char> = pairs.iter().map(|pair| pair.as_ptr()).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let Ok(ends) = i64::try_from((now + token.left()).as_millis()) else { return false };
    let mut why: [c_char; 256] = [0; 256];
    // SAFETY: the client lives as long as its reference, the texts as long as the call, which copies them and may come from any
    // thread; the error's text is written within its bounds.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            shown.as_ptr(),
            ends,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            why.as_mut_ptr(),
            why.len(),
        )
    };
    code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}
