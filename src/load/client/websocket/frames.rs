//! Frames in and out (RFC 6455, section 5): messages put together, ours masked.
//!
//! The library reads and writes frame heads; putting messages together is done here so that the
//! buffers stay small while a socket is idle, and errors carry the words that k6's users know.

use std::fmt;
use std::io::{self, Cursor};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::deflate;

/// Largest message, unpacked; a larger one ends the socket with 1009.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Largest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Room made for each read while a socket is quiet.
const READ_BYTES: usize = 2 * 1024;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Its end: code (1005 where it gave none) and reason.
    Close(u16, String),
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The connection closed without a close frame.
    Abnormal,
    Io(io::Error),
    /// The server broke the rules: code of the close frame that it should get, and the rule.
    Protocol(u16, &'static str),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Abnormal => f.write_str("unexpected EOF"),
            Ended::Io(error) => error.fmt(f),
            Ended::Protocol(_, rule) => write!(f, "websocket: {rule}"),
        }
    }
}

/// What we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

pub(crate) struct Reader<S> {
    stream: S,
    buffer: BytesMut,
    deflate: bool,
    /// Of a message whose end has not come yet: kind, packed, bytes.
    part: Option<(Data, bool, Vec<u8>)>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// `buffer`: what came together with the answer to the upgrade.
    pub(crate) fn new(stream: S, buffer: BytesMut, deflate: bool) -> Reader<S> {
        Reader {
            stream,
            buffer,
            deflate,
            part: None,
        }
    }

    /// The next message or control frame.
    ///
    /// # Errors
    /// The socket is over.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Ended> {
        loop {
            let (head, payload) = self.frame().await?;
            match head.opcode {
                OpCode::Control(Control::Ping) => return Ok(Incoming::Ping(payload)),
                OpCode::Control(Control::Pong) => return Ok(Incoming::Pong(payload)),
                OpCode::Control(Control::Close) => return close_of(&payload),
                OpCode::Data(kind @ (Data::Text | Data::Binary | Data::Continue)) => {
                    if let Some(message) = self.collect(kind, &head, payload)? {
                        return Ok(message);
                    }
                }
                _ => return Err(Ended::Protocol(1002, "bad opcode")),
            }
        }
    }

    fn collect(
        &mut self,
        kind: Data,
        head: &FrameHeader,
        payload: Vec<u8>,
    ) -> Result<Option<Incoming>, Ended> {
        let (kind, packed, bytes) = match (kind, self.part.take()) {
            (Data::Continue, Some((kind, packed, mut bytes))) => {
                bytes.extend_from_slice(&payload);
                (kind, packed, bytes)
            }
            (Data::Continue, None) => {
                return Err(Ended::Protocol(1002, "continuation after FIN"));
            }
            (_, Some(_)) => return Err(Ended::Protocol(1002, "data before FIN")),
            (kind, None) => (kind, head.rsv1, payload),
        };
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        if !head.is_final {
            self.part = Some((kind, packed, bytes));
            return Ok(None);
        }
        let bytes = if packed {
            deflate::decompress(bytes, MESSAGE_BYTES_MAX)
                .ok_or(Ended::Protocol(1007, "bad compressed message"))?
        } else {
            bytes
        };
        Ok(Some(match kind {
            Data::Text => Incoming::Text(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
            _ => Incoming::Binary(bytes),
        }))
    }

    async fn frame(&mut self) -> Result<(FrameHeader, Vec<u8>), Ended> {
        let (head, length) = loop {
            let mut cursor = Cursor::new(&self.buffer[..]);
            let parsed = FrameHeader::parse(&mut cursor)
                .map_err(|_| Ended::Protocol(1002, "bad frame header"))?;
            if let Some((head, length)) = parsed {
                let taken = cursor.position() as usize;
                self.buffer.advance(taken);
                break (head, length);
            }
            self.fill().await?;
        };
        self.check(&head, length)?;
        let length = length as usize;
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let payload = self.buffer.split_to(length).to_vec();
        if self.buffer.is_empty() {
            // Most sockets of a run are quiet most of the time.
            self.buffer = BytesMut::new();
        }
        Ok((head, payload))
    }

    fn check(&self, head: &FrameHeader, length: u64) -> Result<(), Ended> {
        let control = matches!(head.opcode, OpCode::Control(_));
        let first = matches!(head.opcode, OpCode::Data(Data::Text | Data::Binary));
        if (head.rsv1 && !(self.deflate && first)) || head.rsv2 || head.rsv3 {
            return Err(Ended::Protocol(1002, "unexpected reserved bits"));
        }
        if head.mask.is_some() {
            return Err(Ended::Protocol(1002, "bad MASK"));
        }
        if control && !head.is_final {
            return Err(Ended::Protocol(1002, "FIN not set on control"));
        }
        if control && length > CONTROL_BYTES_MAX {
            return Err(Ended::Protocol(1002, "len > 125 for control"));
        }
        if length > MESSAGE_BYTES_MAX as u64 {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), Ended> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Ended::Abnormal),
            Ok(_) => Ok(()),
            // A server that ends TLS without saying so has closed all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Ended::Abnormal),
            Err(error) => Err(Ended::Io(error)),
        }
    }
}

const TOO_LARGE: Ended = Ended::Protocol(1009, "read limit exceeded");

fn close_of(payload: &[u8]) -> Result<Incoming, Ended> {
    match payload {
        [] => Ok(Incoming::Close(1005, String::new())),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !(matches!(code, 1000..=1003 | 1007..=1014) || (3000..=4999).contains(&code)) {
                return Err(Ended::Protocol(1002, "bad close code"));
            }
            let reason = std::str::from_utf8(reason)
                .map_err(|_| Ended::Protocol(1002, "invalid utf8 payload in close frame"))?;
            Ok(Incoming::Close(code, reason.to_owned()))
        }
        _ => Err(Ended::Protocol(1002, "invalid close payload")),
    }
}

pub(crate) struct Writer<S> {
    stream: S,
    deflate: bool,
    masks: u64,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    pub(crate) fn new(stream: S, deflate: bool) -> Writer<S> {
        let mut seed = [0; 8];
        // Masks guard proxies against scripts, not secrets: a clock would do as well.
        let _ = getrandom::fill(&mut seed);
        Writer {
            stream,
            deflate,
            masks: u64::from_ne_bytes(seed) | 1,
        }
    }

    /// Writes one whole message or control frame.
    pub(crate) async fn write(&mut self, kind: Frame, payload: &[u8]) -> io::Result<()> {
        let pack = self.deflate && matches!(kind, Frame::Text | Frame::Binary);
        let packed = pack.then(|| deflate::compress(payload));
        let payload = packed.as_deref().unwrap_or(payload);
        let mask = self.mask();
        let head = FrameHeader {
            is_final: true,
            rsv1: pack,
            opcode: match kind {
                Frame::Text => OpCode::Data(Data::Text),
                Frame::Binary => OpCode::Data(Data::Binary),
                Frame::Ping => OpCode::Control(Control::Ping),
                Frame::Pong => OpCode::Control(Control::Pong),
                Frame::Close => OpCode::Control(Control::Close),
            },
            mask: Some(mask),
            ..FrameHeader::default()
        };
        let mut wire = Vec::with_capacity(payload.len() + 14);
        head.format(payload.len() as u64, &mut wire)
            .expect("writing to memory does not fail");
        let places = mask.iter().cycle();
        wire.extend(payload.iter().zip(places).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&wire).await?;
        self.stream.flush().await
    }

    pub(crate) async fn shutdown(&mut self) {
        // The connection is over either way.
        let _ = self.stream.shutdown().await;
    }

    /// xorshift64.
    fn mask(&mut self) -> [u8; 4] {
        self.masks ^= self.masks << 13;
        self.masks ^= self.masks >> 7;
        self.masks ^= self.masks << 17;
        ((self.masks >> 32) as u32).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8], deflate: bool) -> Result<Incoming, Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut reader = Reader::new(wire, BytesMut::new(), deflate);
        runtime.expect("a runtime").block_on(reader.next())
    }

    #[test]
    fn fragments_make_one_message() {
        let wire = [0x01, 2, b'a', b'b', 0x00, 1, b'c', 0x80, 1, b'd'];
        assert_eq!(
            read(&wire, false).expect("it is valid"),
            Incoming::Text("abcd".into())
        );
        assert_eq!(
            read(&[0x82, 1, 7], false).expect("it is valid"),
            Incoming::Binary(vec![7])
        );
        let wire = [0x88, 4, 3, 243, b'b', b'y'];
        assert_eq!(
            read(&wire, false).expect("it is valid"),
            Incoming::Close(1011, "by".into())
        );
        assert_eq!(
            read(&[0x88, 0], false).expect("it is valid"),
            Incoming::Close(1005, String::new())
        );
    }

    #[test]
    fn broken_frames_end_the_socket_with_the_rule_they_broke() {
        let rule = |wire: &[u8]| read(wire, false).expect_err("it is refused").to_string();
        assert_eq!(
            rule(&[0xc1, 1, b'a']),
            "websocket: unexpected reserved bits"
        );
        assert_eq!(rule(&[0x81, 0x81, 1, 2, 3, 4, 5]), "websocket: bad MASK");
        assert_eq!(rule(&[0x80, 1, b'a']), "websocket: continuation after FIN");
        assert_eq!(rule(&[0x88, 2, 3, 237]), "websocket: bad close code");
        assert_eq!(rule(&[0x81, 9, b'a']), "unexpected EOF");
        let huge = [0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(rule(&huge), "websocket: read limit exceeded");
    }

    #[test]
    fn packed_messages_are_read() {
        let wire = [0xc1, 7, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(
            read(&wire, true).expect("it is valid"),
            Incoming::Text("Hello".into())
        );
    }
}
