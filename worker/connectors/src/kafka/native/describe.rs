//! Which topics names stand for: librdkafka tells it, but the crate around it does not ask.

use crate::kafka::client::{TopicState, TopicStates};
use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_broker,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics,
    rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_name, rd_kafka_TopicDescription_partitions, rd_kafka_TopicDescription_t,
    rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_base64str, rd_kafka_Uuid_least_significant_bits,
    rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t, rd_kafka_error_code,
    rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_queue_destroy,
    rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_resp_err_t,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;
use std::time::Duration;

/// Asks a broker for topics, at least one. Every broker knows them: the one that the client would ask itself, the controller,
/// may be away.
///
/// # Errors
/// It did not answer in time, or could not.
#[expect(unsafe_code, reason = "the functions have no safe wrapper")]
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    topics: &BTreeSet<Arc<str>>,
    within: Duration,
) -> Result<TopicStates, KafkaError> {
    let names = topics.iter().map(|topic| CString::new(&**topic)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let milliseconds = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let mut why: [c_char; 256] = [0; 256];
    // SAFETY: the client lives as long as its reference, the names as long as the call that copies them. What is made here is
    // given back when its owner is dropped, the event last of those that read it; an answer that nobody waits for any more is
    // the client's own to drop.
    unsafe {
        let client = client.native_ptr();
        let collection = rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let collection = Owned { pointer: collection, destroy: rd_kafka_TopicCollection_destroy };
        let options = rd_kafka_AdminOptions_new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let options = Owned { pointer: options, destroy: rd_kafka_AdminOptions_destroy };
        // What is out of its bounds leaves the default; the wait below ends all the same.
        rd_kafka_AdminOptions_set_request_timeout(options.pointer, milliseconds, why.as_mut_ptr(), why.len());
        rd_kafka_AdminOptions_set_broker(options.pointer, broker, why.as_mut_ptr(), why.len());
        let queue = Owned { pointer: rd_kafka_queue_new(client), destroy: rd_kafka_queue_destroy };
        rd_kafka_DescribeTopics(client, collection.pointer, options.pointer, queue.pointer);
        let event = rd_kafka_queue_poll(queue.pointer, milliseconds);
        if event.is_null() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        }
        let event = Owned { pointer: event, destroy: rd_kafka_event_destroy };
        match rd_kafka_event_error(event.pointer) {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            code => return Err(KafkaError::MetadataFetch(code.into())),
        }
        let mut count = 0;
        let found =
            rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event.pointer), &raw mut count);
        if found.is_null() {
            return Ok(TopicStates::new());
        }
        let found = std::slice::from_raw_parts(found, count);
        Ok(found.iter().filter_map(|topic| described(*topic)).collect())
    }
}

/// A topic and what it is; `None` if there is no such topic.
///
/// # Safety
/// The description is one that an event gave that is still there.
#[expect(unsafe_code, reason = "the functions have no safe wrapper")]
unsafe fn described(topic: *const rd_kafka_TopicDescription_t) -> Option<(Arc<str>, TopicState)> {
    // SAFETY: as the caller says; texts are copied.
    unsafe {
        let text = |text: *const c_char| Arc::<str>::from(CStr::from_ptr(text).to_string_lossy());
        let name = text(rd_kafka_TopicDescription_name(topic));
        match rd_kafka_error_code(rd_kafka_TopicDescription_error(topic)).into() {
            RDKafkaErrorCode::NoError => {
                let id = rd_kafka_TopicDescription_topic_id(topic);
                let is_known = !id.is_null()
                    && (rd_kafka_Uuid_most_significant_bits(id), rd_kafka_Uuid_least_significant_bits(id)) != (0, 0);
                let id = is_known.then(|| text(rd_kafka_Uuid_base64str(id)));
                let mut count = 0;
                rd_kafka_TopicDescription_partitions(topic, &raw mut count);
                Some((name, TopicState { id, partitions: i32::try_from(count).unwrap_or(i32::MAX) }))
            }
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable => None,
            // Reading it says what is wrong.
            _ => Some((name, TopicState { id: None, partitions: i32::MAX })),
        }
    }
}

/// Something of the client's, given back in the end.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Owned<T> {
    #[expect(unsafe_code, reason = "the functions have no safe wrapper")]
    fn drop(&mut self) {
        // SAFETY: the client gave it, and nobody else gives it back.
        unsafe { (self.destroy)(self.pointer) }
    }
}
