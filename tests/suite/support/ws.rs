//! A blocking WebSocket client that speaks the relay's JSON frames.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::http::connect;
use super::{SOON, check};

pub struct Socket {
    socket: WebSocket<TcpStream>,
}

impl Socket {
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Socket {
        match Socket::try_open(addr, "/api/v1/ws", &[]) {
            Ok(socket) => socket,
            Err(error) => panic!("no WebSocket: {error}"),
        }
    }

    /// For upgrades that may be refused (`Error::Http` has the answer) or whose relay may be gone.
    pub fn try_open(
        addr: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Socket, Box<Error>> {
        let stream = connect(addr).map_err(Error::Io)?;
        let mut request = format!("ws://{addr}{path}").into_client_request()?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            let value = HeaderValue::from_str(value).expect("a header value");
            request.headers_mut().insert(name, value);
        }
        match tokio_tungstenite::tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Socket { socket }),
            Err(HandshakeError::Failure(error)) => Err(Box::new(error)),
            Err(HandshakeError::Interrupted(_)) => {
                Err(Box::new(Error::Io(std::io::ErrorKind::TimedOut.into())))
            }
        }
    }

    #[track_caller]
    pub fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string());
    }

    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .expect("the socket takes a frame");
    }

    #[track_caller]
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.socket
            .send(Message::binary(bytes.to_vec()))
            .expect("the socket takes a frame");
    }

    /// Sends, where a failure is part of the test.
    pub fn try_send(&mut self, frame: Value) -> Result<(), Box<Error>> {
        Ok(self.socket.send(Message::text(frame.to_string()))?)
    }

    /// Subscribes and returns the `subscribed` answer. `what` has `user` or `channel`, `after`, `box`.
    #[track_caller]
    pub fn subscribe(&mut self, what: Value) -> Value {
        let mut frame = json!({"type": "subscribe"});
        for (key, value) in what.as_object().expect("an object") {
            frame[key] = value.clone();
        }
        self.send(frame);
        self.next_of("subscribed")
    }

    /// The next JSON frame; pings are answered on the way.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        match self.try_next(SOON) {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("no frame within {SOON:?}"),
            Err(error) => panic!("no frame: {error}"),
        }
    }

    /// The next frame, which must be of this type.
    #[track_caller]
    pub fn next_of(&mut self, kind: &str) -> Value {
        let frame = self.next();
        check(frame["type"] == kind, || {
            format!("expected a frame of type {kind}, got {frame}")
        });
        frame
    }

    /// The next frame; `None` when nothing comes within `patience`. A close is an error.
    pub fn try_next(&mut self, patience: Duration) -> Result<Option<Value>, Box<Error>> {
        match self.read(patience)? {
            Some(Message::Text(text)) => {
                Ok(Some(serde_json::from_str(&text).expect("frames are JSON")))
            }
            Some(Message::Close(_)) => Err(Box::new(Error::ConnectionClosed)),
            Some(other) => panic!("an unexpected frame: {other:?}"),
            None => Ok(None),
        }
    }

    /// Skips frames until the relay closes and returns the close code; 1006 without a close frame.
    #[track_caller]
    pub fn closed_with(&mut self) -> u16 {
        let deadline = Instant::now() + SOON * 3;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.read(left) {
                Ok(Some(Message::Close(Some(frame)))) => return frame.code.into(),
                Ok(Some(Message::Close(None))) => return 1005,
                Ok(Some(_) | None) => {}
                Err(_) => return 1006,
            }
        }
        panic!("the relay did not close the socket");
    }

    /// Closes from this side.
    pub fn close(mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }

    /// The stream below, for peers that stop reading.
    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// The next message that is no ping or pong; `None` after `patience`.
    fn read(&mut self, patience: Duration) -> Result<Option<Message>, Box<Error>> {
        let deadline = Instant::now() + patience;
        loop {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Ok(None);
            };
            let left = left.max(Duration::from_millis(1));
            self.stream()
                .set_read_timeout(Some(left))
                .map_err(Error::Io)?;
            match self.socket.read() {
                Ok(Message::Ping(_) | Message::Pong(_)) => {
                    let _ = self.socket.flush();
                }
                Ok(message) => return Ok(Some(message)),
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(Box::new(error)),
            }
        }
    }
}
