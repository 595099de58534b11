//! Keeps a client able to find its brokers.
//!
//! librdkafka forgets a broker that the cluster does not list. A cluster whose only brokers come back from a pause may list none
//! for a moment; then the client has forgotten all, those that the user named included, and never asks anybody again (librdkafka
//! issue 5301). So who has waited for long looks whether any broker is left, and if not names the first ones once more.

use crate::kafka::client::Properties;
use rdkafka::bindings::rd_kafka_brokers_add;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::CString;
use std::time::{Duration, Instant};
use tracing::info;

/// How long nothing came before the brokers are looked at.
const SILENCE: Duration = Duration::from_secs(3);

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Reach {
    brokers: String,
    looked: Instant,
}

impl Reach {
    pub fn new(properties: &Properties) -> Self {
        let brokers = properties.get("bootstrap.servers").cloned().unwrap_or_default();
        Self { brokers, looked: Instant::now() }
    }

    /// Something came from the brokers.
    pub fn heard(&mut self) {
        self.looked = Instant::now();
    }

    /// To be called while nothing comes; may take [`ANSWER_WITHIN`], once every [`SILENCE`]. Asks for a topic, or for all.
    pub fn check<C: ClientContext>(&mut self, client: &Client<C>, topic: Option<&str>) {
        if self.looked.elapsed() < SILENCE {
            return;
        }
        let answer = client.fetch_metadata(topic, ANSWER_WITHIN);
        // The error means that there was nobody to ask, not that nobody answered.
        let is_alone =
            answer.err().is_some_and(|e| e.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure));
        if is_alone && name_brokers(client, &self.brokers) {
            info!(brokers = self.brokers, "no broker can be asked: those that are named are tried again");
        }
        self.looked = Instant::now();
    }
}

/// Adds brokers to those that the client knows; false if there are none. Brokers that it was named already are not added again.
#[expect(unsafe_code, reason = "the function has no safe wrapper")]
fn name_brokers<C: ClientContext>(client: &Client<C>, brokers: &str) -> bool {
    let Ok(brokers) = CString::new(brokers) else { return false };
    // SAFETY: the client lives as long as its reference, the text as long as the call, which copies it and may come from any
    // thread.
    let added = unsafe { rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
    added > 0
}
