//! The client against a server of scripted answers.

use super::settings::Credentials;
use super::*;
use crate::testing::table;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Serves these answers (status and body), one a connection; gives the address and what was asked: request line, credentials
/// and body.
fn server(answers: Vec<(&'static str, String)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (told, asked) = channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().expect("asked as often as there are answers");
            let mut reader = BufReader::new(stream.try_clone().expect("one more handle"));
            let (mut request, mut credentials, mut length) = (String::new(), String::new(), 0);
            reader.read_line(&mut request).expect("a request");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a header");
                let Some((name, value)) = line.trim().split_once(':') else { break };
                match name.to_ascii_lowercase().as_str() {
                    "authorization" => credentials = value.to_owned(),
                    "content-length" => length = value.trim().parse().expect("a length"),
                    _ => {}
                }
            }
            let mut content = vec![0; length];
            reader.read_exact(&mut content).expect("a body");
            let content = String::from_utf8(content).expect("a text");
            told.send(format!("{}{credentials} {content}", request.trim_end_matches("HTTP/1.1\r\n"))).expect("read");
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .expect("answers");
        }
    });
    (address, asked)
}

fn settings(options: &[(&str, &str)]) -> Result<RegistrySettings, String> {
    let options: Vec<(String, &str)> = options.iter().map(|(k, v)| (format!("avro-confluent.{k}"), *v)).collect();
    let options: Vec<(&str, &str)> = options.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    RegistrySettings::of(&table(&[], &options), "avro-confluent.").map_err(|error| error.to_string())
}

fn registry(options: &[(&str, &str)]) -> HttpRegistry {
    HttpRegistry::start(settings(options).expect("sound options")).expect("starts")
}

fn schema(registry: &HttpRegistry, id: u32) -> Result<RegisteredSchema, RegistryFault> {
    let (told, answer) = channel();
    registry.schema(id, Box::new(move |result| told.send(result).expect("read")));
    answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
}

fn id(registry: &HttpRegistry, subject: &str, register: bool) -> Result<u32, RegistryFault> {
    let (told, answer) = channel();
    registry.id(
        subject.to_owned(),
        "\"int\"".to_owned(),
        register,
        Box::new(move |result| told.send(result).expect("read")),
    );
    answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
}

const OK: &str = "200 OK";

#[test]
fn a_schema_comes_with_what_it_refers_to_those_first_that_others_need() {
    let schema_of = |text: &str, reference: Option<&str>| {
        let references: Vec<_> =
            reference.iter().map(|s| serde_json::json!({"name": "n", "subject": s, "version": 2})).collect();
        (OK, serde_json::json!({"schema": text, "references": references}).to_string())
    };
    let (url, asked) =
        server(vec![schema_of("a", Some("b/b")), schema_of("b", Some("c")), schema_of("c", Some("b/b"))]);
    let found = schema(&registry(&[("url", &url)]), 7).expect("answered");
    assert_eq!(found.text, "a");
    assert_eq!(found.language, "AVRO");
    assert_eq!(found.references, ["c", "b"]);
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked, ["GET /schemas/ids/7  ", "GET /subjects/b%2Fb/versions/2  ", "GET /subjects/c/versions/2  "]);
}

#[test]
fn a_schema_is_registered_or_looked_up() {
    let (url, asked) = server(vec![(OK, "{\"id\":3}".to_owned()), (OK, "{\"id\":4}".to_owned())]);
    // The path of the address stays.
    let registry = registry(&[("url", &format!("{url}/below/")), ("bearer-auth.token", "the-token")]);
    assert_eq!(id(&registry, "orders-value", true), Ok(3));
    assert_eq!(id(&registry, "orders-value", false), Ok(4));
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(
        asked,
        [
            "POST /below/subjects/orders-value/versions  Bearer the-token {\"schema\":\"\\\"int\\\"\"}",
            "POST /below/subjects/orders-value  Bearer the-token {\"schema\":\"\\\"int\\\"\"}"
        ]
    );
}

#[test]
fn what_may_pass_is_asked_again_and_what_does_not_is_told_at_once() {
    let answer = |status| (status, "{\"message\":\"so it is\"}".to_owned());
    let (url, asked) = server(vec![
        answer("503 Service Unavailable"),
        answer("429 Too Many Requests"),
        (OK, "{\"schema\":\"x\"}".to_owned()),
        ("404 Not Found", "{\"error_code\":40403,\"message\":\"so it is\"}".to_owned()),
        answer("404 Not Found"),
        answer("401 Unauthorized"),
        answer("409 Conflict"),
        (OK, "<html>".to_owned()),
    ]);
    let place = url.trim_start_matches("http://");
    let registry = registry(&[("url", &format!("http://u%3A:the-secret@{place}"))]);
    assert_eq!(schema(&registry, 1).expect("the third answer").text, "x");
    let expected = [
        (true, "it is not there (so it is)"),
        (false, "nobody answers there for a schema registry (404 Not Found: so it is): check 'url'"),
        (false, "the credentials are refused (401 Unauthorized: so it is): check"),
        (false, "it is incompatible with what is registered (so it is): change the table"),
        (false, "the answer is none of a schema registry's"),
    ];
    for (is_unknown, text) in expected {
        let fault = schema(&registry, 9).expect_err("none");
        assert_eq!(fault.is_unknown, is_unknown);
        let begin = format!("schema 9, schema registry {url}: {text}");
        assert!(fault.detail.starts_with(&begin), "{}", fault.detail);
        assert!(!fault.detail.contains("the-secret"), "{}", fault.detail);
    }
    // `u::the-secret`.
    assert!(asked.try_iter().all(|line| line.contains("Basic dTo6dGhlLXNlY3JldA==")));
}

#[test]
fn the_next_address_is_asked_and_patience_ends() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dead = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let (url, _asked) = server(vec![(OK, "{\"schema\":\"x\"}".to_owned())]);
    assert!(schema(&registry(&[("url", &format!("{dead}, {url}"))]), 1).is_ok());
    let fault = schema(&registry(&[("url", &dead), ("retry-timeout", "300 ms")]), 1).expect_err("nobody is there");
    assert!(!fault.is_unknown);
    let begin = format!("schema 1, schema registry {dead}: no answer for 0 s (");
    assert!(fault.detail.starts_with(&begin) && fault.detail.contains("refused"), "{}", fault.detail);
}

#[test]
fn the_last_attempt_is_made_when_patience_ends() {
    let patience = Duration::from_secs(3);
    let (mut at, mut wait, mut attempts) = (Duration::ZERO, Duration::from_millis(100), vec![0]);
    while let Some(pause) = http::pause_of(wait, at, patience) {
        at += pause;
        wait *= 2;
        attempts.push(at.as_millis());
    }
    assert_eq!(attempts, [0, 100, 300, 700, 1500, 3000]);
    assert_eq!(http::pause_of(wait, Duration::from_secs(4), patience), None);
}

#[test]
fn settings_of_confluents_client_are_taken_and_flinks_go_before_them() {
    let the = |options: &[(&str, &str)]| settings(options).expect("sound").credentials;
    let url = ("url", "http://a:1");
    let basic = |user: &str| Credentials::Basic { user: user.to_owned(), password: "the-secret".to_owned() };
    let theirs = ("properties.basic.auth.user.info", "them:the-secret");
    assert!(the(&[url, theirs, ("properties.basic.auth.credentials.source", "USER_INFO")]) == basic("them"));
    assert!(the(&[url, theirs, ("basic-auth.user-info", "us:the-secret")]) == basic("us"));
    let error = settings(&[url, ("properties.basic.auth.user.info", "the-secret")]).expect_err("no colon");
    assert!(error.contains("'avro-confluent.properties.basic.auth.user.info'"), "{error}");
    assert!(!error.contains("the-secret"), "{error}");
    for (option, advice) in [
        ("ssl.keystore.password", "openssl pkey"),
        ("ssl.truststore.password", "leave it out"),
        ("properties.schema.registry.ssl.keystore.password", "openssl pkey"),
    ] {
        let error = settings(&[url, (option, "the-secret")]).expect_err("PEM has none");
        assert!(error.contains(option) && error.contains(advice) && !error.contains("the-secret"), "{error}");
    }
    let table = table(&[], &[("f.properties.basic.auth.user.info", ""), ("f.properties.use.latest.version", "true")]);
    assert_eq!(passed_over(&table, "f."), ["f.properties.use.latest.version"]);
}

#[test]
fn options_are_checked_and_never_shown() {
    let error = |options: &[(&str, &str)]| settings(options).expect_err("refused");
    assert!(error(&[]).contains("'avro-confluent.url'"));
    for url in ["localhost:8081", "ftp://a", "http://", "nonsense"] {
        let error = error(&[("url", url)]);
        assert!(error.contains("'avro-confluent.url'") && error.contains("http://host:port"), "{url}: {error}");
    }
    let url = ("url", "https://user:the-secret@a:1/x");
    let both = error(&[url, ("basic-auth.user-info", "a:the-secret"), ("bearer-auth.token", "the-secret")]);
    let no_colon = error(&[url, ("basic-auth.user-info", "the-secret")]);
    let no_token = error(&[url, ("bearer-auth.credentials-source", "STATIC_TOKEN")]);
    let inherited = error(&[url, ("basic-auth.credentials-source", "SASL_INHERIT")]);
    assert!(inherited.contains("it is USER_INFO or URL"), "{inherited}");
    let fine = settings(&[url]).expect("sound");
    assert_eq!(fine.place(), "https://a:1/x");
    for shown in [both, no_colon, no_token, format!("{fine:?}")] {
        assert!(!shown.contains("the-secret"), "{shown}");
    }
    let error = HttpRegistry::start(settings(&[url, ("ssl.truststore.location", "/none.pem")]).expect("sound"));
    assert!(error.err().expect("no such file").detail.starts_with("/none.pem: "));
}
