//! The server that rows send their requests to, with one route for each thing to be seen.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;

const HTML: &str = r##"<html><body><h1>Title</h1><a class="next" href="/text">next</a>
<form id="f" action="/echo" method="get"><input type="hidden" name="hidden" value="1">
<input type="text" name="q" value=""><input type="submit" value="go"></form></body></html>"##;

pub struct Target {
    http: SocketAddr,
    ws: SocketAddr,
}

impl Target {
    pub fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || serve(stream.unwrap()));
            }
        });
        Target {
            http,
            ws: echo_messages(),
        }
    }

    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("TARGET", format!("http://{}", self.http)),
            ("TARGET_WS", format!("ws://{}", self.ws)),
        ]
    }

    /// `text` with the target's addresses filled in.
    pub fn filled(&self, text: &str) -> String {
        let mut text = text.replace("${TAKEN}", &self.http.to_string());
        for (name, value) in self.variables() {
            text = text.replace(&format!("${{{name}}}"), &value);
        }
        text
    }
}

struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    /// The client's address without its port.
    peer: String,
}

fn serve(stream: TcpStream) {
    // A row's client may be gone at any time.
    let Ok(mut answers) = stream.try_clone() else {
        return;
    };
    let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
    let peer = peer.unwrap_or_default();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, &peer) {
        let answer = answer(&request);
        // A route without an answer closes the connection.
        if answer.is_empty() {
            return;
        }
        if answers.write_all(&answer).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead, peer: &str) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(Some(0), |text| text.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        target,
        headers,
        body,
        peer: peer.to_owned(),
    })
}

fn answer(request: &Request) -> Vec<u8> {
    let path = request.target.split('?').next().unwrap_or_default();
    let last: u64 = path
        .rsplit('/')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let is_head = request.method == "HEAD";
    let reply = |status: u64, headers: &str, body: &[u8]| {
        let reason = if status == 200 { "OK" } else { "Other" };
        let mut bytes = format!("HTTP/1.1 {status} {reason}\r\n{headers}").into_bytes();
        if !matches!(status, 204 | 304) {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if !is_head && !matches!(status, 204 | 304) {
            bytes.extend_from_slice(body);
        }
        bytes
    };
    let as_json = "Content-Type: application/json\r\n";
    match path.split('/').nth(1).unwrap_or_default() {
        "text" => {
            let headers = "Content-Type: text/plain\r\nX-Many: a\r\nX-Many: b\r\n";
            reply(200, headers, b"some text")
        }
        "status" => reply(last, "", b"a status"),
        "redirect" => {
            let next = match last {
                0 | 1 => "/text".to_owned(),
                more => format!("/redirect/{}", more - 1),
            };
            reply(302, &format!("Location: {next}\r\n"), b"")
        }
        "cookies" => {
            let cookie = request.target.split('?').nth(1).unwrap_or_default();
            reply(200, &format!("Set-Cookie: {cookie}; Path=/\r\n"), b"set")
        }
        "delay" => {
            std::thread::sleep(Duration::from_millis(last));
            reply(200, "", b"late")
        }
        "bytes" => reply(200, "", &vec![b'x'; last as usize]),
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(b"some text").unwrap();
            reply(
                200,
                "Content-Encoding: gzip\r\n",
                &encoder.finish().unwrap(),
            )
        }
        "peer" => reply(200, "", request.peer.as_bytes()),
        "badgzip" => reply(200, "Content-Encoding: gzip\r\n", b"this is no gzip at all"),
        "reset" => Vec::new(),
        "switch" => reply(101, "Upgrade: x\r\nConnection: Upgrade\r\n", b""),
        "digest" => match request.headers.get("authorization") {
            Some(header) if header.starts_with("Digest ") && header.contains("response=") => {
                reply(200, "", b"in")
            }
            _ => {
                let demand =
                    "WWW-Authenticate: Digest realm=\"r\", nonce=\"abc\", qop=\"auth\"\r\n";
                reply(401, demand, b"")
            }
        },
        "html" => reply(200, "Content-Type: text/html\r\n", HTML.as_bytes()),
        "json" => {
            let value = json!({"user": {"name": "ann"}, "list": [{"n": 1}, {"n": 2}, {"n": 3}]});
            reply(200, as_json, value.to_string().as_bytes())
        }
        _ => {
            let value = json!({
                "method": request.method,
                "url": request.target,
                "headers": request.headers,
                "body": String::from_utf8_lossy(&request.body),
                "length": request.body.len(),
            });
            reply(200, as_json, value.to_string().as_bytes())
        }
    }
}

/// A WebSocket server that sends every message back.
fn echo_messages() -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                        return;
                    };
                    while let Some(Ok(message)) = socket.next().await {
                        if (message.is_text() || message.is_binary())
                            && socket.send(message).await.is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
    });
    address.recv().unwrap()
}
