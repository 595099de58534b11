//! Ends transactions whose producers are gone.

use crate::kafka::client::{
    Answer, IdState, KafkaFault, Properties, TransactionHandle, Transactions, is_about_certificates, reach_advice,
    reach_within,
};
use crate::kafka::protocol::{Client, ProtocolError};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest,
    MetadataRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tracing::info;

const PAUSE: Duration = Duration::from_millis(50);

/// Transactions are ended without the second version of transactions: with it the broker would change the producer's epoch.
const END_TXN_VERSION: i16 = 4;
const INIT_PRODUCER_ID_VERSION: i16 = 4;

/// A coordinator's kind in FindCoordinator.
const FOR_TRANSACTIONS: i8 = 1;

enum Request {
    Commit(Vec<TransactionHandle>, Answer<()>),
    List(String, Answer<Vec<IdState>>),
    Fence(Vec<String>, Answer<()>),
}

/// A thread that ends them, one request after another.
pub(super) struct NativeTransactions {
    requests: Sender<Request>,
}

impl NativeTransactions {
    pub fn start(properties: Properties) -> Result<Self, KafkaFault> {
        let client = RawClient::new(&properties)?;
        let (requests, receiver) = channel();
        std::thread::Builder::new()
            .name("kafka-commit".into())
            .spawn(move || serve(client, &receiver))
            .expect("the system can start a thread");
        Ok(Self { requests })
    }

    fn ask(&self, request: Request) {
        self.requests.send(request).expect("the thread lives as long as its sender");
    }
}

impl Transactions for NativeTransactions {
    fn commit(&self, handles: Vec<TransactionHandle>, done: Answer<()>) {
        self.ask(Request::Commit(handles, done));
    }

    fn list(&self, prefix: String, done: Answer<Vec<IdState>>) {
        self.ask(Request::List(prefix, done));
    }

    fn fence(&self, ids: Vec<String>, done: Answer<()>) {
        self.ask(Request::Fence(ids, done));
    }
}

fn serve(mut client: RawClient, requests: &Receiver<Request>) {
    while let Ok(request) = requests.recv() {
        match request {
            Request::Commit(handles, done) => done(handles.iter().try_for_each(|handle| client.commit(handle))),
            Request::List(prefix, done) => done(client.list(&prefix)),
            Request::Fence(ids, done) => done(client.fence(&ids)),
        }
    }
}

/// The broker's name of the transaction that is open under an id. The client is made when it is first needed.
pub(super) fn identity(
    client: &mut Option<RawClient>,
    properties: &Properties,
    id: &str,
) -> Result<TransactionHandle, KafkaFault> {
    if client.is_none() {
        *client = Some(RawClient::new(properties)?);
    }
    client.as_mut().expect("set above").identity(id)
}

/// What came of one try.
enum Try<T> {
    Done(T),
    /// Not now: why.
    Later(String),
}

/// An answer, and the error in it that another try does not mend.
type Answered<R> = (<R as kafka_protocol::protocol::Request>::Response, Option<ResponseError>);

/// Transactions by Kafka's protocol.
pub(super) struct RawClient {
    client: Client,
    /// The broker that coordinates an id.
    coordinators: HashMap<String, String>,
    /// How long a step is tried again while the brokers cannot do it.
    longest: Duration,
}

impl RawClient {
    pub fn new(properties: &Properties) -> Result<Self, KafkaFault> {
        Ok(Self { client: Client::new(properties)?, coordinators: HashMap::new(), longest: reach_within(properties) })
    }

    /// Repeats a step until it is done, or lasts too long.
    fn repeat<T>(
        &mut self,
        what: &str,
        mut step: impl FnMut(&mut Self) -> Result<Try<T>, ProtocolError>,
    ) -> Result<T, KafkaFault> {
        let begin = Instant::now();
        let mut pause = PAUSE;
        loop {
            let why = match step(self) {
                Ok(Try::Done(value)) => return Ok(value),
                Ok(Try::Later(why)) => why,
                Err(ProtocolError::Lasting(fault)) => return Err(fault),
                Err(error @ ProtocolError::Unknown { .. }) => return Err(KafkaFault::new(format!("{what}: {error}"))),
                Err(error @ (ProtocolError::Io { .. } | ProtocolError::Malformed { .. })) => {
                    // The coordinator may have moved.
                    self.coordinators.clear();
                    let cause = error.to_string();
                    let why = format!("{cause}; {}", reach_advice(&cause));
                    if is_about_certificates(&cause) {
                        // Nobody renews them within a minute.
                        return Err(KafkaFault::refused(format!("{what}: {why}")));
                    }
                    why
                }
            };
            if begin.elapsed() >= self.longest {
                return Err(KafkaFault::new(format!("{what}: not done within {} s: {why}", self.longest.as_secs())));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// The address of an id's coordinator.
    fn coordinator(&mut self, id: &str) -> Result<Try<String>, ProtocolError> {
        if let Some(address) = self.coordinators.get(id) {
            return Ok(Try::Done(address.clone()));
        }
        let key = StrBytes::from_string(id.to_owned());
        // Version 3 asks for one key; later ones for several.
        let request = FindCoordinatorRequest::default().with_key(key).with_key_type(FOR_TRANSACTIONS);
        let answer = self.ask_any("FindCoordinator", 3, &request)?;
        match refusal(answer.error_code) {
            None => {
                let address = format!("{}:{}", answer.host.as_str(), answer.port);
                self.coordinators.insert(id.to_owned(), address.clone());
                Ok(Try::Done(address))
            }
            Some(error) => later_or(error, id),
        }
    }

    /// Asks the first broker that answers.
    fn ask_any<R: kafka_protocol::protocol::Request>(
        &mut self,
        name: &'static str,
        version: i16,
        request: &R,
    ) -> Result<R::Response, ProtocolError> {
        let mut last = ProtocolError::Lasting(KafkaFault::new("'properties.bootstrap.servers' names no broker"));
        for address in self.client.bootstrap.clone() {
            match self.client.ask(&address, name, version, request) {
                Err(error @ (ProtocolError::Io { .. } | ProtocolError::Malformed { .. })) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    /// Asks an id's coordinator; `code` finds the error in the answer. A coordinator that has moved is looked for again.
    fn ask_coordinator<R: kafka_protocol::protocol::Request>(
        &mut self,
        id: &str,
        name: &'static str,
        version: i16,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<Try<Answered<R>>, ProtocolError> {
        let address = match self.coordinator(id)? {
            Try::Done(address) => address,
            Try::Later(why) => return Ok(Try::Later(why)),
        };
        let answer = self.client.ask(&address, name, version, request)?;
        match refusal(code(&answer)) {
            Some(error @ (ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable)) => {
                self.coordinators.remove(id);
                Ok(Try::Later(text(error)))
            }
            Some(
                error @ (ResponseError::CoordinatorLoadInProgress
                | ResponseError::ConcurrentTransactions
                | ResponseError::RequestTimedOut
                | ResponseError::NotEnoughReplicas),
            ) => Ok(Try::Later(text(error))),
            error => Ok(Try::Done((answer, error))),
        }
    }

    fn describe(&mut self, id: &str) -> Result<TransactionState, KafkaFault> {
        let asked = TransactionalId(StrBytes::from_string(id.to_owned()));
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![asked]);
        let what = format!("transactional id {id} cannot be looked up");
        let (answer, error) = self.repeat(&what, |client| {
            client.ask_coordinator(id, "DescribeTransactions", 0, &request, |answer| {
                answer.transaction_states.first().map_or(0, |state| state.error_code)
            })
        })?;
        match (answer.transaction_states.first(), error) {
            (Some(state), None) => Ok(TransactionState {
                state: state.transaction_state.to_string(),
                producer_id: state.producer_id.0,
                producer_epoch: state.producer_epoch,
            }),
            (_, Some(error)) => Err(KafkaFault::new(format!("{what}: {}", text(error)))),
            (None, None) => Err(KafkaFault::new(format!("{what}: the broker does not say"))),
        }
    }

    fn identity(&mut self, id: &str) -> Result<TransactionHandle, KafkaFault> {
        let found = self.describe(id)?;
        if found.state == "Ongoing" {
            return Ok(TransactionHandle {
                transactional_id: id.to_owned(),
                producer_id: found.producer_id,
                producer_epoch: found.producer_epoch,
            });
        }
        Err(KafkaFault::new(format!(
            "the transaction of {id} is {}, although nothing has ended it: it timed out, or another run of this job fenced it. \
             Its rows come again with the next start",
            found.state
        )))
    }

    fn commit(&mut self, handle: &TransactionHandle) -> Result<(), KafkaFault> {
        let id = &handle.transactional_id;
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(id.clone())))
            .with_producer_id(ProducerId(handle.producer_id))
            .with_producer_epoch(handle.producer_epoch)
            .with_committed(true);
        let what = format!("the transaction of {id} cannot be committed");
        let (_, error) = self.repeat(&what, |client| {
            client.ask_coordinator(id, "EndTxn", END_TXN_VERSION, &request, |answer| answer.error_code)
        })?;
        let Some(error) = error else { return Ok(()) };
        let advice = match error {
            ResponseError::ProducerFenced
            | ResponseError::InvalidProducerEpoch
            | ResponseError::InvalidTxnState
            | ResponseError::InvalidProducerIdMapping
            | ResponseError::TransactionalIdNotFound => {
                "it was aborted before it could be committed (its time-out passed while the job was down, or somebody fenced \
                 it), so rows of this checkpoint are missing in the topic, and every start will say this again: start from an older \
                 checkpoint with --from-savepoint to write them again (what other sinks have committed since then is \
                 there twice), and raise 'properties.transaction.timeout.ms'"
            }
            ResponseError::TransactionalIdAuthorizationFailed => {
                "give the user the right to write with this transactional id"
            }
            _ => "start the job again",
        };
        Err(KafkaFault::new(format!("{what} ({}): {advice}", text(error))))
    }

    /// All brokers' addresses.
    fn brokers(&mut self) -> Result<Vec<String>, KafkaFault> {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        self.repeat("the brokers cannot be listed", |client| {
            let answer = client.ask_any("Metadata", 9, &request)?;
            let of = |b: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
                format!("{}:{}", b.host.as_str(), b.port)
            };
            Ok(Try::Done(answer.brokers.iter().map(of).collect()))
        })
    }

    fn list(&mut self, prefix: &str) -> Result<Vec<IdState>, KafkaFault> {
        let what = "the transactions cannot be listed";
        let mut ids = Vec::new();
        for address in self.brokers()? {
            let request = ListTransactionsRequest::default();
            let answer = self.repeat(what, |client| {
                let answer = client.client.ask(&address, "ListTransactions", 1, &request)?;
                match refusal(answer.error_code) {
                    None => Ok(Try::Done(answer)),
                    Some(
                        error @ (ResponseError::CoordinatorLoadInProgress | ResponseError::CoordinatorNotAvailable),
                    ) => Ok(Try::Later(text(error))),
                    Some(error) => Err(KafkaFault::new(format!(
                        "{what}: {}: give the user the right to describe transactional ids",
                        text(error)
                    ))
                    .into()),
                }
            })?;
            let states = answer.transaction_states.iter();
            let found = states.map(|s| (s.transactional_id.0.to_string(), s.transaction_state.to_string()));
            ids.extend(found.filter(|(id, _)| id.starts_with(prefix)));
        }
        Ok(ids)
    }

    fn fence(&mut self, ids: &[String]) -> Result<(), KafkaFault> {
        ids.iter().try_for_each(|id| self.fence_one(id))?;
        if !ids.is_empty() {
            info!(count = ids.len(), first = ids[0], "fenced the transactional ids of earlier runs");
        }
        Ok(())
    }

    /// A new epoch for the id: what is open under it is aborted, and who used it is fenced.
    fn fence_one(&mut self, id: &str) -> Result<(), KafkaFault> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(StrBytes::from_string(id.to_owned()))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let what = format!("transactional id {id} cannot be fenced");
        let (_, error) = self.repeat(&what, |client| {
            client.ask_coordinator(id, "InitProducerId", INIT_PRODUCER_ID_VERSION, &request, |answer| answer.error_code)
        })?;
        match error {
            None => Ok(()),
            Some(error) => Err(KafkaFault::new(format!("{what}: {}", text(error)))),
        }
    }
}

struct TransactionState {
    state: String,
    producer_id: i64,
    producer_epoch: i16,
}

fn refusal(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

fn text(error: ResponseError) -> String {
    error.to_string()
}

fn later_or<T>(error: ResponseError, id: &str) -> Result<Try<T>, ProtocolError> {
    if error.is_retriable() {
        return Ok(Try::Later(text(error)));
    }
    Err(KafkaFault::new(format!("transactional id {id}: no coordinator: {}", text(error))).into())
}
