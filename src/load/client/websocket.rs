//! WebSocket over a VU's connection layer: the upgrade (RFC 6455, section 4) and then frames.
//!
//! Knows nothing of scripts, tags or samples. Bytes are counted by the connection below. A socket
//! ends when its halves are dropped.

mod deflate;
mod frames;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

pub(crate) use self::frames::{Ended, Frame, Incoming, Reader, Writer};

use super::connection::Stream;
use super::{Address, Answer, Client, Failure, Request};

/// Longest time until the server has answered the upgrade, as in k6.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// Largest body of an answer that is no upgrade.
const REFUSAL_BYTES_MAX: usize = 1 << 20;

/// Headers of the upgrade that are ours to set.
const RESERVED: [&str; 5] = [
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
];

/// What the script wants of the socket beside its address and headers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) protocols: Vec<String>,
    /// permessage-deflate without context takeover, if the server agrees.
    pub(crate) deflate: bool,
}

/// An upgraded connection.
pub(crate) struct Opened {
    pub(crate) answer: Answer,
    pub(crate) remote: SocketAddr,
    pub(crate) reader: Reader<ReadHalf<Stream>>,
    pub(crate) writer: Writer<WriteHalf<Stream>>,
}

/// Why there is no socket; the answer where the server gave one.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) text: String,
    pub(crate) answer: Option<Box<Answer>>,
}

impl Refused {
    fn new(text: impl Into<String>) -> Refused {
        Refused {
            text: text.into(),
            answer: None,
        }
    }
}

/// Connects and upgrades. The URL of `request` is the `http` or `https` form of the socket's.
pub(crate) async fn open(
    client: &Client,
    mut request: Request,
    wish: &Wish,
) -> Result<Opened, Refused> {
    let given = |name: &str| {
        let mut headers = request.headers.iter();
        headers.any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if let Some(name) = RESERVED.into_iter().find(|name| given(name)) {
        let text = format!("websocket: duplicate header not allowed: {name}");
        return Err(Refused::new(text));
    }
    let key = generate_key();
    let mut put = |name: &str, value: &str| request.headers.push((name.into(), value.into()));
    put("Upgrade", "websocket");
    put("Connection", "Upgrade");
    put("Sec-WebSocket-Key", &key);
    put("Sec-WebSocket-Version", "13");
    if !wish.protocols.is_empty() {
        put("Sec-WebSocket-Protocol", &wish.protocols.join(", "));
    }
    if wish.deflate {
        put("Sec-WebSocket-Extensions", deflate::OFFER);
    }
    let upgraded = tokio::time::timeout(HANDSHAKE_MAX, client.upgrade(&request)).await;
    let (answer, connection) = match upgraded {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(failure)) => return Err(Refused::new(as_go_says(&failure))),
        Err(_) => return Err(Refused::new("i/o timeout")),
    };
    if !agrees(&answer, &key) {
        return Err(Refused {
            text: "websocket: bad handshake".into(),
            answer: Some(Box::new(answer)),
        });
    }
    let compressed = header(&answer, "sec-websocket-extensions")
        .is_some_and(|extensions| extensions.contains("permessage-deflate"));
    if compressed && !wish.deflate {
        return Err(Refused::new("websocket: bad handshake"));
    }
    let remote = connection.remote;
    let (stream, buffer) = connection.into_stream();
    let (read, write) = tokio::io::split(stream);
    Ok(Opened {
        answer,
        remote,
        reader: Reader::new(read, buffer, compressed),
        writer: Writer::new(write, compressed),
    })
}

/// RFC 6455, section 4.1, what the client must check.
fn agrees(answer: &Answer, key: &str) -> bool {
    let has = |name: &str, token: &str| {
        header(answer, name).is_some_and(|value| {
            let mut tokens = value.split(',').map(str::trim);
            tokens.any(|one| one.eq_ignore_ascii_case(token))
        })
    };
    let accept = header(answer, "sec-websocket-accept");
    answer.status == 101
        && has("upgrade", "websocket")
        && has("connection", "upgrade")
        && accept == Some(derive_accept_key(key.as_bytes()).as_str())
}

/// The first header of this name.
pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut headers = answer.headers.iter();
    let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// Scripts see errors of sockets in the words of Go's network library.
fn as_go_says(failure: &Failure) -> String {
    match failure.code {
        1000 if failure.text == "EOF" => "unexpected EOF".into(),
        _ => failure.detail().to_owned(),
    }
}

/// For requests of sockets: always `GET`, never kept.
pub(crate) fn request(address: Rc<Address>, headers: Vec<(String, String)>) -> Request {
    Request {
        method: Rc::from("GET"),
        address,
        headers,
        body: bytes::Bytes::new(),
        reuse: super::Reuse::KeepAlive,
        take: super::Body::Keep {
            bytes_max: REFUSAL_BYTES_MAX,
        },
    }
}
