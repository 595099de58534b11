//! Settings from what users write; tokens from endpoints and files of our own making.

use super::fetch::Fetcher;
use super::settings::Source;
use super::token::Token;
use super::{TokenSettings, Tokens};
use crate::kafka::client::Properties;
use crate::kafka::properties;
use crate::testing::table;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

const JAAS: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"me\" \
                    clientSecret='se\"cret' scope=\"a b\" extension_logicalCluster=\"lkc,1\" extension_pool='p=1';";
const URL: &str = "sasl.oauthbearer.token.endpoint.url";

fn options(given: &[(&str, &str)]) -> Result<Properties, String> {
    let mut all = vec![
        ("connector".to_owned(), "kafka"),
        ("properties.bootstrap.servers".to_owned(), "b:9092"),
        ("properties.security.protocol".to_owned(), "SASL_PLAINTEXT"),
        ("properties.sasl.mechanism".to_owned(), "OAUTHBEARER"),
    ];
    all.extend(given.iter().map(|(key, value)| (format!("properties.{key}"), *value)));
    let all: Vec<(&str, &str)> = all.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let table = table(&[], &all);
    let made = properties::of(&table).map_err(|error| error.to_string())?;
    crate::kafka::check_properties(&table, &made).map_err(|error| error.to_string())?;
    Ok(made)
}

fn settings(given: &[(&str, &str)]) -> TokenSettings {
    TokenSettings::of(&options(given).expect("usable")).expect("usable").expect("tokens")
}

/// A token that names me, with an end in so many seconds, or without one.
fn token(ends: Option<u64>) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = match ends {
        Some(seconds) => serde_json::json!({"sub": "me", "exp": now + seconds}),
        None => serde_json::json!({"sub": "me"}),
    };
    format!("e30.{}.c2lnbmVk", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Serves these answers (status and body), one a connection; gives the address and what was asked: headers and body.
fn endpoint(answers: Vec<(&'static str, String)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}/token", listener.local_addr().expect("bound"));
    let (told, asked) = channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut reader = BufReader::new(stream.try_clone().expect("one more handle"));
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if line.trim().is_empty() {
                    break;
                }
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().expect("a length");
                }
                request.push_str(&line);
            }
            let mut content = vec![0; length];
            reader.read_exact(&mut content).expect("a body");
            // Who looks at the answers only has gone.
            let _ = told.send(format!("{request}{}", String::from_utf8_lossy(&content)));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close", body.len());
            let _ = write!(stream, "{head}\r\nlocation: http://127.0.0.1:9/\r\n\r\n{body}");
        }
    });
    (address, asked)
}

fn answer(token: &str, life: &str) -> String {
    format!("{{\"access_token\": \"{token}\", \"token_type\": \"Bearer\"{life}}}")
}

fn asked_for(url: &str, more: &[(&str, &str)]) -> TokenSettings {
    settings(&[&[("sasl.jaas.config", JAAS), (URL, url)], more].concat())
}

fn fetch(settings: &TokenSettings) -> Result<Token, (bool, String)> {
    let fetched = Fetcher::new(&settings.source).and_then(|fetcher| fetcher.fetch());
    fetched.map_err(|fault| (fault.is_lasting, fault.detail))
}

#[test]
fn names_of_both_clients_mean_the_same() {
    let java = settings(&[
        ("sasl.jaas.config", JAAS),
        (URL, "https://id.test/token"),
        (
            "sasl.login.callback.handler.class",
            "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
        ),
        ("sasl.login.connect.timeout.ms", "1000"),
    ]);
    let newer = settings(&[
        ("sasl.oauthbearer.client.credentials.client.id", "me"),
        ("sasl.oauthbearer.client.credentials.client.secret", "se\"cret"),
        ("sasl.oauthbearer.scope", "a b"),
        (URL, "https://id.test/token"),
        (
            "sasl.oauthbearer.jwt.retriever.class",
            "org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
        ),
    ]);
    let librdkafka = settings(&[
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.client.id", "me"),
        ("sasl.oauthbearer.client.secret", "se\"cret"),
        ("sasl.oauthbearer.scope", "a b"),
        ("sasl.oauthbearer.extensions", "logicalCluster=lkc,pool=p=1"),
        (URL, "https://id.test/token"),
    ]);
    assert_eq!(java.source.place(), "https://id.test/token");
    assert!(java.source == newer.source && java.source == librdkafka.source);
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    assert_eq!(java.extensions, pairs(&[("logicalCluster", "lkc,1"), ("pool", "p=1")]));
    assert_eq!(librdkafka.extensions, pairs(&[("logicalCluster", "lkc"), ("pool", "p=1")]));
    assert!(newer.extensions.is_empty());
    // Nothing of it is for librdkafka, which would refuse it.
    let made = options(&[("sasl.jaas.config", JAAS), (URL, "https://id.test/token")]).expect("usable");
    crate::kafka::native::check(&made).expect("librdkafka takes the rest");
    let shown = format!("{java:?}");
    assert!(shown.contains("id.test") && !shown.contains("cret"), "{shown}");
}

#[test]
fn what_gives_no_token_is_refused_and_secrets_are_not_shown() {
    let said = |given: &[(&str, &str)]| {
        let error = options(given).expect_err("refused");
        assert!(!error.contains("hush"), "{error}");
        error
    };
    let error = said(&[("sasl.jaas.config", JAAS)]);
    assert!(
        error.starts_with(&format!("table t: option 'properties.{URL}' = '': it is missing: with OAUTHBEARER")),
        "{error}"
    );
    let error = said(&[(URL, "https://id.test/token")]);
    assert!(error.contains("'properties.sasl.oauthbearer.client.id' = '': it is missing"), "{error}");
    assert!(error.contains("`clientId` in 'properties.sasl.jaas.config'"), "{error}");
    let error = said(&[(URL, "https://id.test/token"), ("sasl.oauthbearer.client.id", "me")]);
    assert!(error.contains("'properties.sasl.oauthbearer.client.secret'"), "{error}");
    for url in ["id.test/token", "ftp://id.test/hush", "file://elsewhere/hush"] {
        let error = said(&[("sasl.jaas.config", JAAS), (URL, url)]);
        assert!(error.contains("it is https://host/path, or file:///path"), "{url}: {error}");
    }
    let error = said(&[("sasl.jaas.config", JAAS), (URL, "https://me:hush@id.test/token")]);
    assert!(error.contains("credentials are not taken from the address"), "{error}");
    let error = said(&[("sasl.login.callback.handler.class", "io.other.Handler"), (URL, "https://id.test/token")]);
    assert!(error.contains("only Kafka's own OAuthBearerLoginCallbackHandler"), "{error}");
    let error =
        said(&[("sasl.jaas.config", "x.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub='hush';")]);
    assert!(error.contains("`unsecuredLoginStringClaim_sub` in it is not known"), "{error}");
    let error = said(&[("sasl.jaas.config", "x.OAuthBearerLoginModule required extension_a1='hush';")]);
    assert!(error.contains("the name of an extension is letters"), "{error}");
    let error = said(&[("sasl.oauthbearer.method", "default")]);
    assert!(error.contains("only oidc"), "{error}");
    let error = said(&[("sasl.oauthbearer.assertion.private.key.pem", "hush")]);
    assert!(error.contains("it is not known here"), "{error}");
}

#[test]
fn an_endpoint_is_asked_for_a_token_once_for_all_clients() {
    let token = token(Some(60));
    let (url, asked) = endpoint(vec![("200 OK", answer(&token, ", \"expires_in\": 600"))]);
    let made = options(&[("sasl.jaas.config", JAAS), (URL, &url)]).expect("usable");
    let tokens: Vec<Tokens> = (0..3).map(|_| Tokens::of(&made).expect("usable").expect("tokens")).collect();
    let got: Vec<Arc<Token>> = tokens.iter().map(|tokens| tokens.wait().expect("a token")).collect();
    assert!(got.iter().all(|one| one.text == token && Arc::ptr_eq(one, &got[0])));
    // What the endpoint says counts: the clocks may differ.
    assert!(got[0].left() > Duration::from_secs(500));
    assert_eq!(got[0].principal, "me");
    assert!(!format!("{:?} {:?}", got[0], tokens[0]).contains(&token));
    let request = asked.recv().expect("asked once");
    let basic = format!("Basic {}", STANDARD.encode("me:se\"cret"));
    assert!(request.starts_with("POST /token HTTP/1.1") && request.contains(&basic), "{request}");
    assert!(request.ends_with("grant_type=client_credentials&scope=a%20b"), "{request}");
    assert!(asked.recv().is_err(), "there is one answer, and so one question");
}

#[test]
fn credentials_are_encoded_if_that_is_wanted() {
    let (url, asked) = endpoint(vec![("200 OK", answer("opaque", ", \"expires_in\": \"60\""))]);
    let token = fetch(&asked_for(&url, &[("sasl.oauthbearer.header.urlencode", "true")])).expect("a token");
    assert!(token.text == "opaque" && token.principal == "unnamed" && token.is_alive());
    assert!(asked.recv().expect("asked").contains(&STANDARD.encode("me:se%22cret")));
}

#[test]
fn an_endpoint_that_gives_no_token_is_told_without_secrets() {
    let refusal = "{\"error\": \"invalid_client\", \"error_description\": \"no such secret: se\\\"cret\"}";
    let big = "x".repeat((1 << 20) + 1);
    let log_in = STANDARD.encode("me:se\"cret");
    let echo = format!("{{\"error\": \"bad\", \"error_description\": \"Basic {log_in}\"}}");
    let cases = [
        ("401 Unauthorized", refusal, true, "401 Unauthorized: invalid_client: no such secret: (hidden)"),
        ("401 Unauthorized", &echo, true, "401 Unauthorized: bad: Basic (hidden)"),
        ("400 Bad Request", "{\"error\": \"invalid_scope\"}", true, "invalid_scope): check `clientId`"),
        ("302 Found", "", true, "it sends the request elsewhere (302 Found), which is not followed"),
        ("404 Not Found", "<html>", true, "no token endpoint answers there (404 Not Found)"),
        ("503 Service Unavailable", "", false, "503 Service Unavailable"),
        ("200 OK", "<html>", true, "the answer is none of a token endpoint's"),
        ("200 OK", &big, false, "an answer of more than 1048576 bytes"),
        ("200 OK", &answer("to ken", ""), true, "it is no token: one consists of letters"),
        ("200 OK", &answer("opaque", ""), true, "nothing says how long the token lives"),
        ("200 OK", &answer(&token(Some(0)), ""), false, "the token's life is over"),
    ];
    for (status, body, is_lasting, expected) in cases {
        let (url, _asked) = endpoint(vec![(status, body.to_owned())]);
        let (lasts, detail) = fetch(&asked_for(&url, &[])).expect_err("no token");
        assert!(detail.contains(expected) && lasts == is_lasting, "{lasts} {detail}");
        assert!(!detail.contains("se\"cret") && !detail.contains(&log_in), "{detail}");
    }
}

#[test]
fn a_token_in_a_file_is_read_again_before_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let url = format!("file://{}", path.display());
    let settings = settings(&[(URL, &url)]);
    assert!(matches!(&settings.source, Source::File(found) if *found == path));
    let (lasts, detail) = fetch(&settings).expect_err("no file");
    assert!(lasts && detail.contains("No such file"), "{detail}");
    std::fs::write(&path, "").expect("written");
    assert_eq!(fetch(&settings).expect_err("it is being written"), (false, "there is no token".to_owned()));
    // Old tokens are read until somebody renews them.
    let (first, second) = (token(Some(3)), token(Some(3600)));
    std::fs::write(&path, format!("{first}\n")).expect("written");
    let tokens = Tokens::of(&options(&[(URL, &url)]).expect("usable")).expect("usable").expect("tokens");
    assert_eq!(tokens.wait().expect("a token").text, first);
    std::fs::write(&path, &second).expect("written");
    let begin = Instant::now();
    while tokens.wait().expect("a token").text == first {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is not read again");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(tokens.newest().expect("no fault").expect("a token").text, second);
}

#[test]
fn an_outage_is_survived_as_long_as_the_token_lives_and_then_told() {
    // Then nobody listens any more.
    let (url, _asked) = endpoint(vec![("200 OK", answer("opaque", ", \"expires_in\": 2"))]);
    let given = [("sasl.jaas.config", JAAS), (URL, url.as_str()), ("default.api.timeout.ms", "500")];
    let tokens = Tokens::of(&options(&given).expect("usable")).expect("usable").expect("tokens");
    let ends = tokens.wait().expect("a token").ends;
    loop {
        let now = Instant::now();
        match tokens.newest() {
            Ok(Some(_)) => {}
            Ok(None) => assert!(Instant::now() >= ends, "it was given up too early"),
            Err(fault) => {
                assert!(now.max(Instant::now()) >= ends + Duration::from_millis(500), "{fault}");
                assert!(
                    fault.detail.starts_with("the token's life is over, and there is no new one from http"),
                    "{fault}"
                );
                assert!(fault.detail.contains("refused") && fault.detail.contains("check that it is there"), "{fault}");
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Who comes then with more patience waits for the same.
    drop(tokens);
    let (url, _asked) = endpoint(vec![
        ("503 Service Unavailable", String::new()),
        ("503 Service Unavailable", String::new()),
        ("200 OK", answer("late", ", \"expires_in\": 60")),
    ]);
    let made = options(&[("sasl.jaas.config", JAAS), (URL, &url)]).expect("usable");
    let tokens = Tokens::of(&made).expect("usable").expect("tokens");
    assert_eq!(tokens.wait().expect("a token").text, "late");
}
