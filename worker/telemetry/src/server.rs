//! Serves `/metrics` and `/healthz` over HTTP.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// The type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Makes the text of `/metrics`.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves from a thread of its own until the process ends; gives the address that it listens at (port 0 takes a free one).
///
/// # Errors
/// The address cannot be bound.
pub fn serve(address: SocketAddr, render: Render) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        let served: io::Result<()> = runtime.block_on(async {
            let metrics = move || async move { ([(CONTENT_TYPE, TEXT)], render()) };
            let router = Router::new().route("/metrics", get(metrics)).route("/healthz", get(|| async { "ok\n" }));
            axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "metrics are not served any more");
        }
    })?;
    Ok(bound)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn serves_metrics_and_health() {
        let address = serve("127.0.0.1:0".parse().unwrap(), Arc::new(|| "a_total 1\n".to_owned())).unwrap();
        let metrics = ask(address, "/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("a_total 1\n"), "{metrics}");
        assert!(metrics.contains(TEXT), "{metrics}");
        assert!(ask(address, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/secrets").starts_with("HTTP/1.1 404"));
        assert_eq!(serve(address, Arc::new(String::new)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
