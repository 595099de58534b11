//! Keeps a living token at hand: one thread for all clients of the process that need the same.

use super::fetch::{Fetcher, TokenFault};
use super::settings::{Source, TokenSettings, TokenSettingsFault};
use super::token::Token;
use crate::http::{FIRST_WAIT, LONGEST_WAIT};
use crate::kafka::client::{KafkaFault, Properties, reach_within};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The shortest time between two tokens, and between two tries after a lasting refusal: the token at hand may live on.
const LEAST_WAIT: Duration = Duration::from_secs(1);
const REFUSED_WAIT: Duration = Duration::from_secs(30);

static PROVIDERS: Mutex<Option<HashMap<Source, Weak<Provider>>>> = Mutex::new(None);

/// A client's way to tokens. Nobody is asked before the first is needed.
pub(in crate::kafka) struct Tokens {
    settings: TokenSettings,
    /// How long the client does without.
    patience: Duration,
    provider: OnceLock<Arc<Provider>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tokens {
    /// `None` if the properties want no tokens.
    pub fn of(properties: &Properties) -> Result<Option<Self>, TokenSettingsFault> {
        let settings = TokenSettings::of(properties)?;
        let patience = reach_within(properties);
        Ok(settings.map(|settings| Self { settings, patience, provider: OnceLock::new() }))
    }

    /// Where tokens come from, for people.
    pub fn place(&self) -> String {
        self.settings.source.place()
    }

    /// What brokers are shown beside the token.
    pub fn extensions(&self) -> &[(String, String)] {
        &self.settings.extensions
    }

    /// The newest token, or `None` if it is still being waited for.
    ///
    /// # Errors
    /// There is none, and there will be none; or the client's patience is over.
    pub fn newest(&self) -> Result<Option<Arc<Token>>, KafkaFault> {
        self.decide(&self.provider().state())
    }

    /// The newest token; waits for it.
    ///
    /// # Errors
    /// As [`Self::newest`].
    pub fn wait(&self) -> Result<Arc<Token>, KafkaFault> {
        let provider = self.provider();
        let mut state = provider.state();
        loop {
            if let Some(token) = self.decide(&state)? {
                return Ok(token);
            }
            // Not for ever: patience ends without anybody's saying so.
            let waited = provider.changed.wait_timeout(state, LEAST_WAIT);
            state = waited.expect("no holder of this lock panics").0;
        }
    }

    fn decide(&self, state: &State) -> Result<Option<Arc<Token>>, KafkaFault> {
        if let Some(token) = state.token.as_ref().filter(|token| token.is_alive()) {
            return Ok(Some(Arc::clone(token)));
        }
        let (since, life) = match &state.token {
            Some(token) => (token.ends, "the token's life is over, and there is no new one"),
            None => (state.began, "no token"),
        };
        match &state.fault {
            Some(fault) if fault.is_lasting => {
                Err(KafkaFault::refused(format!("{life} from {}: {}", self.place(), fault.detail)))
            }
            fault if since.elapsed() >= self.patience => {
                let why = fault.as_ref().map_or("no answer", |fault| &fault.detail);
                let seconds = since.elapsed().as_secs();
                Err(KafkaFault::new(format!(
                    "{life} from {} within {seconds} s ({why}): check that it is there and answers, and \
                     'properties.sasl.oauthbearer.token.endpoint.url'",
                    self.place()
                )))
            }
            _ => Ok(None),
        }
    }

    fn provider(&self) -> &Provider {
        self.provider.get_or_init(|| Provider::of(&self.settings.source))
    }
}

struct State {
    began: Instant,
    token: Option<Arc<Token>>,
    /// Why the last try gave none.
    fault: Option<TokenFault>,
}

/// What a thread keeps for its clients. It ends when they are gone.
struct Provider {
    state: Mutex<State>,
    changed: Condvar,
}

impl Provider {
    /// The one for this source.
    fn of(source: &Source) -> Arc<Self> {
        let mut providers = PROVIDERS.lock().expect("no holder of this lock panics");
        let providers = providers.get_or_insert_default();
        providers.retain(|_, provider| provider.strong_count() > 0);
        if let Some(provider) = providers.get(source).and_then(Weak::upgrade) {
            return provider;
        }
        let state = State { began: Instant::now(), token: None, fault: None };
        let provider = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        let (weak, source_of_thread) = (Arc::downgrade(&provider), source.clone());
        std::thread::Builder::new()
            .name("kafka-token".into())
            .spawn(move || serve(&source_of_thread, &weak))
            .expect("the system can start a thread");
        providers.insert(source.clone(), Arc::downgrade(&provider));
        provider
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Says what came of a try.
    fn tell(&self, result: Result<Arc<Token>, TokenFault>) {
        let mut state = self.state();
        match result {
            Ok(token) => (state.token, state.fault) = (Some(token), None),
            Err(fault) => state.fault = Some(fault),
        }
        self.changed.notify_all();
    }
}

/// Gets one token after another, as long as somebody needs them.
fn serve(source: &Source, provider: &Weak<Provider>) {
    /// How often the thread looks whether anybody is left.
    const LOOK: Duration = Duration::from_millis(500);
    let fetcher = Fetcher::new(source);
    let (mut wait, mut is_away) = (FIRST_WAIT, false);
    loop {
        let result = fetcher.as_ref().map_err(Clone::clone).and_then(Fetcher::fetch).map(Arc::new);
        let next = match &result {
            Ok(token) => {
                if is_away {
                    info!(place = source.place(), "there is a new token for Kafka");
                }
                (wait, is_away) = (FIRST_WAIT, false);
                token.due.saturating_duration_since(Instant::now()).max(LEAST_WAIT)
            }
            Err(fault) => {
                if !is_away {
                    warn!(place = source.place(), why = fault.detail, "no new token for Kafka: it is asked for again");
                }
                is_away = true;
                let now = if fault.is_lasting { REFUSED_WAIT } else { wait };
                wait = (wait * 2).min(LONGEST_WAIT);
                now
            }
        };
        let Some(strong) = provider.upgrade() else { return };
        strong.tell(result);
        drop(strong);
        let since = Instant::now();
        while since.elapsed() < next {
            std::thread::sleep(LOOK.min(next.saturating_sub(since.elapsed())));
            if provider.strong_count() == 0 {
                return;
            }
        }
    }
}
