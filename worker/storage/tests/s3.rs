//! A real S3 server through this client: what every storage must do, and the errors that only a server can give.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use streamfleet_env::{Storage, StorageError, StorageErrorKind, StorageReply, StorageRequest};
use streamfleet_storage::conformance::{Place, check};
use streamfleet_storage::{Checksum, Files, S3Options, S3Place, S3Storage, ask};

/// The bucket that the server comes with.
const BUCKET: &str = "streamfleet";

fn endpoint() -> String {
    std::env::var("STREAMFLEET_TEST_S3").expect(
        "STREAMFLEET_TEST_S3 must be the URL of an S3 server, with its credentials in AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY: run this test by `make unit`, which starts one",
    )
}

fn options() -> S3Options {
    S3Options { endpoint: Some(endpoint()), ..S3Options::default() }
}

/// A part of the bucket that no other test uses.
fn place(name: &str) -> S3Place {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let location = format!("s3://{BUCKET}/{name}-{}-{}", std::process::id(), now.as_nanos());
    S3Place::parse(&location).expect("a location on S3")
}

#[test]
fn s3_conforms() {
    let place = place("below");
    let open = || Arc::new(S3Storage::below(&place, &options())) as Arc<dyn Storage>;
    check(&Place { open: &open, prefix: String::new() });
}

#[test]
fn files_on_s3_conform() {
    let place = place("files");
    let open = || Arc::new(Files::new(".", options())) as Arc<dyn Storage>;
    check(&Place { open: &open, prefix: format!("s3://{BUCKET}/{}", place.prefix) });
}

/// Whoever shows an upload need not have been told how it was checked: its token says so.
#[test]
fn uploads_with_checksums_are_shown_by_others() {
    for checksum in [Checksum::Crc32, Checksum::Crc32c, Checksum::Sha256] {
        let place = place("checked");
        let storage = S3Storage::below(&place, &S3Options { checksum: Some(checksum), ..options() });
        let other = S3Storage::below(&place, &options());
        let parts = [vec![1_u8; 6 << 20], vec![2; 5 << 20], vec![3; 100]];
        let path = || "a".to_owned();
        for bytes in &parts {
            let append = StorageRequest::Append { path: path(), bytes: bytes.clone() };
            assert_eq!(ask(&storage, append), Ok(StorageReply::Done), "{checksum:?}");
        }
        let Ok(StorageReply::Prepared(token)) = ask(&storage, StorageRequest::Prepare { path: path() }) else {
            panic!("{checksum:?}: it is not prepared");
        };
        for _ in 0..2 {
            let publish = StorageRequest::Publish { path: path(), token: token.clone() };
            assert_eq!(ask(&other, publish), Ok(StorageReply::Done), "{checksum:?}: {token}");
        }
        let read = ask(&other, StorageRequest::Get { path: path(), range: None });
        assert!(read == Ok(StorageReply::Bytes(parts.concat())), "{checksum:?}");
        assert_eq!(ask(&storage, create("b")), Ok(StorageReply::Done), "{checksum:?}");
        assert_eq!(refused(&storage, create("b")).kind, StorageErrorKind::AlreadyExists, "{checksum:?}");
    }
}

#[test]
fn listings_and_uploads_of_many_pages_are_whole() {
    let storage = S3Storage::below(&place("pages"), &options());
    let (sender, answers) = std::sync::mpsc::channel();
    for n in 0..1_100 {
        let sender = sender.clone();
        let request = StorageRequest::Put { path: format!("a/{n:05}"), bytes: b"x".to_vec() };
        storage.submit(request, Box::new(move |answer| sender.send(answer).expect("it is waited for")));
    }
    answers.iter().take(1_100).for_each(|answer| assert_eq!(answer, Ok(StorageReply::Done)));
    let Ok(StorageReply::Paths(found)) = ask(&storage, StorageRequest::List { prefix: "a/".to_owned() }) else {
        panic!("it can be listed");
    };
    let expected: Vec<(String, u64)> = (0..1_100).map(|n| (format!("a/{n:05}"), 1)).collect();
    assert!(found == expected, "{} found", found.len());
}

fn refused(storage: &S3Storage, request: StorageRequest) -> StorageError {
    let began = std::time::Instant::now();
    let error = ask(storage, request).expect_err("it is refused");
    assert!(began.elapsed() < Duration::from_secs(30), "it is told soon");
    assert!(!error.to_string().contains("wrong-secret"), "{error}");
    error
}

fn create(path: &str) -> StorageRequest {
    StorageRequest::PutNew { path: path.to_owned(), bytes: b"x".to_vec() }
}

#[test]
fn wrong_credentials_are_told() {
    let credentials = Some(("nobody".to_owned(), "wrong-secret".to_owned()));
    let storage = S3Storage::below(&place("denied"), &S3Options { credentials, ..options() });
    let error = refused(&storage, create("a"));
    assert_eq!(error.kind, StorageErrorKind::Broken, "{error}");
    assert!(error.to_string().starts_with("cannot create s3://streamfleet/denied-"), "{error}");
    assert!(error.detail.contains("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{error}");
    let key = std::env::var("AWS_ACCESS_KEY_ID").expect("`make unit` sets it");
    let credentials = Some((key, "wrong-secret".to_owned()));
    let storage = S3Storage::below(&place("denied"), &S3Options { credentials, ..options() });
    let error = refused(&storage, create("a"));
    assert!(error.detail.contains("the credentials were refused (SignatureDoesNotMatch"), "{error}");
}

#[test]
fn a_missing_bucket_is_told() {
    let place = S3Place::parse("s3://no-such-bucket/x").expect("a location on S3");
    let storage = S3Storage::below(&place, &options());
    for request in [create("a"), StorageRequest::List { prefix: "log/".to_owned() }] {
        let error = refused(&storage, request);
        assert_eq!(error.kind, StorageErrorKind::Broken, "{error}");
        assert!(error.detail.contains("there is no such bucket: create it"), "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let options = S3Options { endpoint: Some("http://127.0.0.1:9".to_owned()), ..options() };
    let storage = S3Storage::below(&place("down"), &options);
    let error = refused(&storage, create("a"));
    assert_eq!(error.kind, StorageErrorKind::Uncertain, "{error}");
    assert!(error.detail.starts_with("the server cannot be reached"), "{error}");
    assert!(error.detail.contains("check the endpoint (`s3.endpoint` or AWS_ENDPOINT_URL)"), "{error}");
}
