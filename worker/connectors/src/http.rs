//! What all that is asked over HTTP has in common: trust, patience, and bounds.

use reqwest::blocking::{Client, ClientBuilder, RequestBuilder};
use reqwest::{Certificate, StatusCode};
use std::io::Read;
use std::time::Duration;

/// How long one answer may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The first and the longest time between two attempts.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(100);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A client to be; `trusted`: certificates in PEM, and where they come from, instead of those of the system.
///
/// # Errors
/// They are none.
pub(crate) fn client(trusted: Option<(&[u8], &str)>) -> Result<ClientBuilder, String> {
    let builder = Client::builder().timeout(ANSWER_WITHIN).user_agent("streamfleet");
    let Some((pem, place)) = trusted else { return Ok(builder) };
    let certificates = Certificate::from_pem_bundle(pem)
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| format!("{place}: certificates in PEM are needed (from a Java store: keytool -rfc)"))?;
    Ok(builder.tls_certs_only(certificates))
}

/// Sends a request; gives the answer's status and bytes, `most` of them.
pub(crate) fn exchange(request: RequestBuilder, most: u64) -> Result<(StatusCode, Vec<u8>), String> {
    let response = request.send().map_err(|error| cause_of(&error))?;
    let status = response.status();
    let mut bytes = Vec::new();
    response.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("an answer of more than {most} bytes"));
    }
    Ok((status, bytes))
}

/// True if another try may have another answer.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// What lies behind an error: the outermost says only that something failed, and shows the address.
fn cause_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
