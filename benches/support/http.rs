//! Clients over HTTP that do as little as clients can: prepared bytes go out over connections that stay open, and of an
//! answer only its first line and its length are looked at.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{float, percentile};

/// A POST of JSON as it goes over the wire.
pub(crate) fn post(token: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Requests a second, and the 99th percentile of a request's time in milliseconds. Each client sends its own requests in
/// turn, again and again for `time`.
pub(crate) async fn load(address: &str, clients: &[Vec<Vec<u8>>], time: Duration) -> (f64, f64) {
    let begun = Instant::now();
    let tasks: Vec<_> = (clients.iter().cloned())
        .map(|requests| {
            let address = address.to_owned();
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(address).await.unwrap();
                connection.set_nodelay(true).unwrap();
                let (mut times, mut buffer) = (Vec::new(), Vec::with_capacity(4_096));
                for request in requests.iter().cycle() {
                    if begun.elapsed() >= time {
                        break;
                    }
                    let started = Instant::now();
                    connection.write_all(request).await.unwrap();
                    answered(&mut connection, &mut buffer).await;
                    times.push(started.elapsed().as_secs_f64() * 1_000.0);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    (float(times.len()) / begun.elapsed().as_secs_f64(), percentile(times, 99))
}

/// The body of the answer to one request.
pub(crate) async fn ask(address: &str, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request).await.unwrap();
    let mut buffer = Vec::new();
    let head = answered(&mut connection, &mut buffer).await;
    String::from_utf8(buffer.split_off(head)).unwrap()
}

/// Reads one answer, which must be a success; where its body begins.
async fn answered(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> usize {
    buffer.clear();
    let (mut body, mut whole) = (None, usize::MAX);
    loop {
        assert_ne!(connection.read_buf(buffer).await.unwrap(), 0, "the connection was closed");
        if body.is_none()
            && let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let text = std::str::from_utf8(&buffer[..head]).unwrap().to_lowercase();
            assert!(text.starts_with("http/1.1 20"), "{}", String::from_utf8_lossy(buffer));
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            whole = head + 4 + length.parse::<usize>().unwrap();
            body = Some(head + 4);
        }
        if let Some(body) = body.filter(|_| buffer.len() >= whole) {
            return body;
        }
    }
}
