//! Subscribers over `graphql-transport-ws` that do as little as subscribers can: they look for a few words in the bytes
//! that come.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What must happen within this time.
const SOON: Duration = Duration::from_secs(60);

/// One socket (RFC 6455), as a client has it.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Socket {
    /// A socket on which the token has been accepted.
    pub(crate) async fn open(address: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let upgrade = "GET /graphql HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
            sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut buffer = BytesMut::with_capacity(512);
        let head = loop {
            assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "the connection was closed");
            if let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break head + 4;
            }
        };
        assert!(buffer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&buffer));
        buffer.advance(head);
        let mut socket = Self { stream, buffer };
        socket.say(&json!({ "type": "connection_init", "payload": { "token": token } })).await;
        assert!(contains(&socket.hear().await, "connection_ack"));
        socket
    }

    /// Subscribes; the first frame.
    pub(crate) async fn subscribe(&mut self, id: usize, query: &str, variables: &Value) -> BytesMut {
        let payload = json!({ "query": query, "variables": variables });
        self.say(&json!({ "type": "subscribe", "id": id.to_string(), "payload": payload })).await;
        let first = tokio::time::timeout(SOON, self.hear()).await.expect("a first frame");
        assert!(contains(&first, "\"next\"") && !contains(&first, "\"errors\""), "{}", String::from_utf8_lossy(&first));
        first
    }

    /// A text, "masked" with zeroes.
    async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let head = [&[0x81, 0x80 | 126][..], &length, &[0; 4]].concat();
        self.stream.write_all(&[&head, text.as_bytes()].concat()).await.unwrap();
    }

    /// The next text.
    pub(crate) async fn hear(&mut self) -> BytesMut {
        loop {
            while let Some((code, message)) = self.message() {
                match code {
                    1 => return message,
                    // A ping is answered with what it carries, which is nothing.
                    9 => self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap(),
                    other => panic!("a message of kind {other}: {}", String::from_utf8_lossy(&message)),
                }
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the connection was closed");
        }
    }

    /// A message that is there as a whole: its kind, and what it carries.
    fn message(&mut self) -> Option<(u8, BytesMut)> {
        let bytes = &self.buffer[..];
        let number = |range: std::ops::Range<usize>| {
            let bytes = bytes.get(range)?;
            Some(bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
        };
        let (head, length) = match bytes.get(1)? {
            126 => (4, number(2..4)?),
            127 => (10, number(2..10)?),
            length => (2, usize::from(*length)),
        };
        if bytes.len() < head + length {
            return None;
        }
        let code = bytes[0] & 0x0f;
        self.buffer.advance(head);
        Some((code, self.buffer.split_to(length)))
    }
}

/// Whether the text stands in the bytes.
pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
