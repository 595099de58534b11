//! What a failed call means, and what the user can do about it.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use streamfleet_env::StorageErrorKind;

/// A failed call.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: StorageErrorKind,
    /// The server's name for it.
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
}

impl Failure {
    pub fn new(kind: StorageErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, code: String::new(), detail: detail.into() }
    }

    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }
}

impl<E: ProvideErrorMetadata + Error + 'static> From<SdkError<E, HttpResponse>> for Failure {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(said) => {
                let header = |name| said.raw().headers().get(name).unwrap_or_default().to_owned();
                let (code, message) = (said.err().code().unwrap_or_default(), said.err().message().unwrap_or_default());
                answered(said.raw().status().as_u16(), code, message, &header("x-amz-bucket-region"))
            }
            SdkError::TimeoutError(_) => Self::new(StorageErrorKind::Uncertain, "no answer in time"),
            SdkError::ResponseError(said) => {
                let status = said.raw().status();
                Self::new(StorageErrorKind::Uncertain, format!("an answer that cannot be read (status {status})"))
            }
            _ => not_sent(&error),
        }
    }
}

/// What the server answered. `region`: where it says that the bucket is, or nothing.
fn answered(status: u16, code: &str, message: &str, region: &str) -> Failure {
    use StorageErrorKind as Kind;
    let said = match (code, message) {
        ("", _) => format!("status {status}"),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {}", message.trim_end_matches('.')),
    };
    let (kind, detail) = match (code, status) {
        ("NoSuchBucket", _) => {
            (Kind::Broken, "there is no such bucket: create it, or check its name and the endpoint".to_owned())
        }
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "InvalidSecurity", _) => (
            Kind::Broken,
            format!(
                "the credentials were refused ({said}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the options \
                 `s3.access-key` and `s3.secret-key` if they are set, or the role of this machine"
            ),
        ),
        ("RequestTimeTooSkewed", _) => {
            (Kind::Broken, format!("this machine's clock differs too much from the server's ({said}): set the clock"))
        }
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307 | 308) => {
            let place = if region.is_empty() { "another region".to_owned() } else { format!("region {region}") };
            (Kind::Broken, format!("the bucket is in {place} ({said}): set `s3.region` or AWS_REGION to it"))
        }
        ("NotImplemented", _) | (_, 501) => (Kind::NotExclusive, format!("the server cannot do this ({said})")),
        ("PreconditionFailed", _) | (_, 412) => (Kind::AlreadyExists, said),
        ("QuotaExceeded" | "StorageFull", _) | (_, 507) => (Kind::Full, said),
        ("NoSuchKey" | "NoSuchUpload" | "NotFound", _) | (_, 404) => (Kind::NotFound, said),
        (_, 401 | 403) => (Kind::Denied, said),
        // What takes its time is answered with 200 at once, and may fail all the same.
        (
            "InternalError"
            | "OperationAborted"
            | "RequestTimeout"
            | "ServiceUnavailable"
            | "SlowDown"
            | "ConditionalRequestConflict",
            _,
        )
        | (_, 408 | 409 | 429 | 500..) => (Kind::Uncertain, said),
        ("", 200..=299) => (
            Kind::Broken,
            format!(
                "what is answered is another question ({said}): check the endpoint; if the server does not know the bucket by its \
                 host, set `s3.path.style.access` to `true`"
            ),
        ),
        _ => (Kind::Broken, said),
    };
    Failure { kind, code: code.to_owned(), detail }
}

/// The request did not leave this machine, or nobody took it.
fn not_sent(error: &(dyn Error + 'static)) -> Failure {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        next = error.source();
    }
    let all = chain.join(": ");
    if format!("{error:?}").contains("CredentialsNotLoaded") {
        let detail =
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role";
        return Failure::new(StorageErrorKind::Broken, detail);
    }
    let of_bucket = match all.contains("dns error") {
        true => "; with `s3.path.style.access` = `false` the host is the bucket's name, a dot and that of the endpoint",
        false => "",
    };
    let detail = format!(
        "the server cannot be reached ({all}): check the endpoint (`s3.endpoint` or AWS_ENDPOINT_URL) and the network{of_bucket}"
    );
    Failure::new(StorageErrorKind::Uncertain, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use StorageErrorKind as Kind;

    #[test]
    fn answers_say_what_can_be_done() {
        for (status, code, region, kind, text) in [
            (404, "NoSuchBucket", "", Kind::Broken, "there is no such bucket: create it, or check its name"),
            (403, "InvalidAccessKeyId", "", Kind::Broken, "the credentials were refused (InvalidAccessKeyId: why)"),
            (403, "SignatureDoesNotMatch", "", Kind::Broken, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
            (403, "RequestTimeTooSkewed", "", Kind::Broken, "this machine's clock differs too much"),
            (301, "PermanentRedirect", "eu-west-1", Kind::Broken, "the bucket is in region eu-west-1"),
            (301, "", "", Kind::Broken, "the bucket is in another region (status 301): set `s3.region` or AWS_REGION"),
            (501, "NotImplemented", "", Kind::NotExclusive, "the server cannot do this"),
            (412, "PreconditionFailed", "", Kind::AlreadyExists, "PreconditionFailed: why"),
            (409, "ConditionalRequestConflict", "", Kind::Uncertain, "ConditionalRequestConflict: why"),
            (507, "", "", Kind::Full, "status 507"),
            (404, "NoSuchKey", "", Kind::NotFound, "NoSuchKey: why"),
            (404, "", "", Kind::NotFound, "status 404"),
            (403, "AccessDenied", "", Kind::Denied, "AccessDenied: why"),
            (503, "SlowDown", "", Kind::Uncertain, "SlowDown: why"),
            (500, "InternalError", "", Kind::Uncertain, "InternalError: why"),
            (200, "InternalError", "", Kind::Uncertain, "InternalError: why"),
            (
                200,
                "",
                "",
                Kind::Broken,
                "another question (status 200): check the endpoint; if the server does not know",
            ),
            (400, "InvalidArgument", "", Kind::Broken, "InvalidArgument: why"),
        ] {
            let failure = answered(status, code, "why.", region);
            assert_eq!(failure.kind, kind, "{status} {code}");
            assert!(failure.detail.contains(text), "{status} {code}: {}", failure.detail);
        }
    }
}
