//! Asks a registry over HTTP, on a thread of its own: one question after the other, and again while it does not answer.

use super::settings::Credentials;
use super::{Answer, RegisteredSchema, Registry, RegistryFault, RegistrySettings};
use crate::http::{self, ANSWER_WITHIN, FIRST_WAIT, LONGEST_WAIT};
use reqwest::blocking::Client;
use reqwest::{Identity, Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use streamfleet_types::Outlook;
use tracing::{info, warn};

/// The least time for one answer, when patience ends: for one that is on its way.
const LEAST_ANSWER: Duration = Duration::from_secs(1);

/// The most bytes of an answer.
const MOST_BYTES: u64 = 16 << 20;

/// The most schemas that one refers to.
const MOST_REFERENCES: usize = 200;

enum Question {
    Schema { id: u32, done: Answer<RegisteredSchema> },
    Id { subject: String, schema: String, register: bool, done: Answer<u32> },
}

/// See the module.
pub(crate) struct HttpRegistry {
    questions: Sender<Question>,
    /// Nobody waits for answers any more.
    is_over: Arc<AtomicBool>,
}

impl HttpRegistry {
    /// Begins the thread; nobody is asked yet.
    ///
    /// # Errors
    /// A file of keys or certificates cannot be used.
    pub fn start(settings: RegistrySettings) -> Result<Self, RegistryFault> {
        let (questions, asked) = channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let fault = |detail: String| RegistryFault { is_unknown: false, detail, outlook: Outlook::Refused };
        let client = client_of(&settings).map_err(fault)?;
        let asker = Asker { settings, client, is_over: Arc::clone(&is_over) };
        std::thread::Builder::new()
            .name("schema-registry".to_owned())
            .spawn(move || asker.serve(&asked))
            .map_err(|error| fault(format!("a thread cannot be started: {error}")))?;
        Ok(Self { questions, is_over })
    }

    fn ask(&self, question: Question) {
        // The thread lives as long as somebody may ask.
        let _ = self.questions.send(question);
    }
}

impl Registry for HttpRegistry {
    fn schema(&self, id: u32, done: Answer<RegisteredSchema>) {
        self.ask(Question::Schema { id, done });
    }

    fn id(&self, subject: String, schema: String, register: bool, done: Answer<u32>) {
        self.ask(Question::Id { subject, schema, register, done });
    }
}

impl Drop for HttpRegistry {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn client_of(settings: &RegistrySettings) -> Result<Client, String> {
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let trusted = settings.trusted.as_ref().map(|path| Ok::<_, String>((read(path)?, path))).transpose()?;
    let mut builder = http::client(trusted.as_ref().map(|(pem, path)| (pem.as_slice(), path.as_str())))?;
    if let Some(path) = &settings.identity {
        let identity = Identity::from_pem(&read(path)?)
            .map_err(|_| format!("{path}: a private key and its certificates in PEM are needed"))?;
        builder = builder.identity(identity);
    }
    let is_plain = settings.urls.iter().any(|url| url.scheme() == "http");
    if is_plain && settings.credentials != Credentials::None {
        warn!(
            registry = settings.place(),
            "credentials go to the schema registry without encryption: better use https"
        );
    }
    builder.build().map_err(|error| format!("the client cannot be made: {error}"))
}

/// Why a question has no answer.
enum Trouble {
    /// It may have one later.
    Passing(String),
    Lasting(RegistryFault),
}

/// What a registry says of a schema.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaAnswer {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// Where a schema lies that another one refers to.
#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

struct Asker {
    settings: RegistrySettings,
    client: Client,
    is_over: Arc<AtomicBool>,
}

impl Asker {
    fn serve(&self, questions: &Receiver<Question>) {
        while let Ok(question) = questions.recv() {
            match question {
                Question::Schema { id, done } => done(self.schema(id)),
                Question::Id { subject, schema, register, done } => done(self.id(&subject, &schema, register)),
            }
        }
    }

    fn schema(&self, id: u32) -> Result<RegisteredSchema, RegistryFault> {
        let what = format!("schema {id}");
        let id = id.to_string();
        let answer: SchemaAnswer = self.ask(&what, &Method::GET, &["schemas", "ids", &id], None)?;
        let mut references = Vec::new();
        self.refer(&what, answer.references, &mut HashSet::new(), &mut references)?;
        let language = answer.schema_type.unwrap_or_else(|| "AVRO".to_owned());
        Ok(RegisteredSchema { text: answer.schema, language, references })
    }

    /// Fetches what a schema refers to, those first that others need.
    fn refer(
        &self,
        what: &str,
        references: Vec<Reference>,
        seen: &mut HashSet<(String, i64)>,
        texts: &mut Vec<String>,
    ) -> Result<(), RegistryFault> {
        for Reference { subject, version } in references {
            if !seen.insert((subject.clone(), version)) {
                continue;
            }
            if seen.len() > MOST_REFERENCES {
                return Err(self.fault(what, &format!("it refers to more than {MOST_REFERENCES} others")));
            }
            let name = format!("version {version} of {subject}, which {what} needs");
            let number = version.to_string();
            let path = ["subjects", &subject, "versions", &number];
            let answer: SchemaAnswer = self.ask(&name, &Method::GET, &path, None)?;
            self.refer(what, answer.references, seen, texts)?;
            texts.push(answer.schema);
        }
        Ok(())
    }

    fn id(&self, subject: &str, schema: &str, register: bool) -> Result<u32, RegistryFault> {
        let what = format!("the schema for subject {subject}");
        let path = ["subjects", subject, "versions"];
        let path = if register { &path[..] } else { &path[..2] };
        let body = json!({"schema": schema});
        let answer: IdAnswer = self.ask(&what, &Method::POST, path, Some(&body))?;
        Ok(answer.id)
    }

    fn fault(&self, what: &str, detail: &str) -> RegistryFault {
        RegistryFault {
            is_unknown: false,
            detail: format!("{what}, schema registry {}: {detail}", self.settings.place()),
            outlook: Outlook::Refused,
        }
    }

    /// Asks every address, again and again while the trouble may pass.
    fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        method: &Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<T, RegistryFault> {
        let began = Instant::now();
        let (mut wait, mut is_away) = (FIRST_WAIT, false);
        loop {
            let mut last = String::new();
            for url in &self.settings.urls {
                let left = self.settings.patience.saturating_sub(began.elapsed());
                match self.ask_one(url, what, method, path, body, left.clamp(LEAST_ANSWER, ANSWER_WITHIN)) {
                    Ok(answer) => {
                        if is_away {
                            info!(registry = self.settings.place(), what, "the schema registry answers again");
                        }
                        return Ok(answer);
                    }
                    Err(Trouble::Lasting(fault)) => return Err(fault),
                    Err(Trouble::Passing(text)) => last = text,
                }
            }
            if !is_away {
                warn!(
                    registry = self.settings.place(),
                    what, last, "the schema registry does not answer: it is asked again"
                );
            }
            is_away = true;
            let elapsed = began.elapsed();
            let pause = pause_of(wait, elapsed, self.settings.patience);
            let Some(pause) = pause.filter(|_| !self.is_over.load(Ordering::Relaxed)) else {
                let seconds = elapsed.as_secs();
                let fault = self.fault(what, &format!("no answer for {seconds} s ({last}): is it running there?"));
                return Err(RegistryFault { outlook: Outlook::MayPass, ..fault });
            };
            std::thread::sleep(pause);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn ask_one<T: for<'a> Deserialize<'a>>(
        &self,
        url: &Url,
        what: &str,
        method: &Method,
        path: &[&str],
        body: Option<&Value>,
        within: Duration,
    ) -> Result<T, Trouble> {
        let mut address = url.clone();
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.client.request(method.clone(), address).timeout(within);
        request = request.header("accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(body) = body {
            request = request.header("content-type", "application/vnd.schemaregistry.v1+json").body(body.to_string());
        }
        let request = match &self.settings.credentials {
            Credentials::None => request,
            Credentials::Basic { user, password } => request.basic_auth(user, Some(password)),
            Credentials::Bearer(token) => request.bearer_auth(token),
        };
        let (status, bytes) = http::exchange(request, MOST_BYTES).map_err(Trouble::Passing)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                Trouble::Lasting(self.fault(what, &format!("the answer is none of a schema registry's: {error}")))
            });
        }
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let code = said["error_code"].as_u64();
        let said = said["message"].as_str().unwrap_or_else(|| status.canonical_reason().unwrap_or_default());
        let lasting = |detail: &str| Trouble::Lasting(self.fault(what, detail));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => lasting(&format!(
                "the credentials are refused ({status}: {said}): check 'basic-auth.user-info' or 'bearer-auth.token'"
            )),
            // Subject, version and schema; who answers anything else is no registry, and knows nothing of schemas.
            StatusCode::NOT_FOUND if matches!(code, Some(40401..=40403)) => Trouble::Lasting(RegistryFault {
                is_unknown: true,
                ..self.fault(what, &format!("it is not there ({said})"))
            }),
            StatusCode::NOT_FOUND => lasting(&format!(
                "nobody answers there for a schema registry ({status}: {said}): check 'url' and its path"
            )),
            StatusCode::CONFLICT => lasting(&format!(
                "it is incompatible with what is registered ({said}): change the table, or the subject's compatibility, or write under another 'subject'"
            )),
            status if http::may_pass(status) => Trouble::Passing(format!("{status}: {said}")),
            status => lasting(&format!("{status}: {said}")),
        })
    }
}

/// How long to wait before the next attempt: the last one is made when patience ends. `None`: it has ended.
pub(super) fn pause_of(wait: Duration, elapsed: Duration, patience: Duration) -> Option<Duration> {
    patience.checked_sub(elapsed).filter(|left| !left.is_zero()).map(|left| wait.min(left))
}
