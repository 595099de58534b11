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

/// What is left of a token when clients renew their log-ins with it too often: brokers refuse that for one younger than a second.
const NEARLY_OVER: Duration = Duration::from_secs(2);

/// The tokens of one client, if it needs any.
#[derive(Debug, Default)]
pub(super) struct ShownTokens {
    tokens: Option<Arc<Tokens>>,
    last: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    token: Option<Arc<Token>>,
    /// When one was shown last whose predecessor's life was nearly over.
    late: Option<Instant>,
}

impl Shown {
    fn is(&mut self, token: Arc<Token>) {
        if self.token.as_ref().is_some_and(|last| last.left() < NEARLY_OVER) {
            self.late = Some(Instant::now());
        }
        self.token = Some(token);
    }

    /// True if what brokers say may be of a token whose successor is overdue.
    fn is_old(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.is_due())
            || self.late.is_some_and(|late| late.elapsed() < BLAMED_FOR)
    }
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
            last.is(token);
        }
    }

    /// What is to be said of brokers that refuse a log-in; `None` if they were shown a token whose successor is overdue, as after
    /// a long pause of the process or in an outage of the endpoint: the client tries again with the next one. Shortly before
    /// the end they refuse a living token too, when the client renews its log-in for what is left.
    pub fn refused(&self, reason: &str) -> Option<String> {
        let Some(tokens) = &self.tokens else { return Some(reason.to_owned()) };
        (!self.last().is_old()).then(|| format!("{reason}: {}", refused_token(&tokens.place())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_that_refuse_a_token_are_believed_only_while_its_successor_is_not_due() {
        assert_eq!(ShownTokens::default().refused("why").as_deref(), Some("why"));
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", "file:///the-place"),
        ];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let shown = ShownTokens::new(tokens_of(&properties).expect("usable"));
        let show = |left: u64| {
            // Of a life of a minute so much is left.
            let began =
                Instant::now().checked_sub(Duration::from_secs(60 - left)).expect("the machine runs for a minute");
            let token = Token::of("opaque", Some(Duration::from_secs(60)), began).expect("a token");
            shown.last().is(Arc::new(token));
        };
        let believed = || {
            let said = shown.refused("why");
            let said = said.inspect(|said| {
                assert!(said.starts_with("why: the brokers refuse the token of /the-place: "), "{said}");
            });
            said.is_some()
        };
        show(30);
        assert!(believed());
        show(5);
        assert!(!believed(), "the next one is overdue");
        // It came in time, if not at once.
        show(30);
        assert!(believed());
        for left in [0, 1] {
            show(left);
            assert!(!believed());
            show(30);
            assert!(!believed(), "it came late: what is said may be of the one before");
            // A while later it is of this one.
            shown.last().late = Instant::now().checked_sub(BLAMED_FOR);
            assert!(believed());
        }
    }
}
