//! A small blocking HTTP/1.1 client that shows exactly what was on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::check;

/// Above the longest poll that the relay allows (55 s).
const ANSWER_PATIENCE: Duration = Duration::from_secs(70);

/// A keep-alive connection; connects at the first request and again after the peer closed.
pub struct Client {
    addr: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// A request being put together. `Host` and `Content-Length` are added unless they are given.
#[must_use]
pub struct Request<'c> {
    addr: SocketAddr,
    client: Option<&'c mut Client>,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn to(addr: SocketAddr) -> Client {
        Client {
            addr,
            connection: None,
        }
    }

    /// One GET that may fail to connect: for polling.
    pub fn try_get(addr: SocketAddr, path: &str) -> Option<Response> {
        Request::new(addr, "GET", path).try_send().ok()
    }

    pub fn request(&mut self, method: &str, path: &str) -> Request<'_> {
        let mut request = Request::new(self.addr, method, path);
        request.client = Some(self);
        request
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Value) -> Response {
        self.request("POST", path).json(body).send()
    }

    fn exchange(&mut self, bytes: &[u8], head_only: bool) -> std::io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(connect(self.addr)?),
        };
        connection.get_mut().write_all(bytes)?;
        let response = read_response(&mut connection, head_only)?;
        if response.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

impl<'c> Request<'c> {
    pub fn new(addr: SocketAddr, method: &str, path: &str) -> Request<'static> {
        Request {
            addr,
            client: None,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().as_bytes())
    }

    /// A body with its type.
    pub fn body(self, content_type: &str, body: &[u8]) -> Self {
        self.header("Content-Type", content_type).untyped(body)
    }

    /// A body without `Content-Type`.
    pub fn untyped(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    #[track_caller]
    pub fn send(self) -> Response {
        let what = format!("{} {}", self.method, self.path);
        self.try_send()
            .unwrap_or_else(|error| panic!("no answer to {what}: {error}"))
    }

    pub fn try_send(self) -> std::io::Result<Response> {
        let bytes = self.bytes();
        let head_only = self.method == "HEAD";
        match self.client {
            Some(client) => client.exchange(&bytes, head_only),
            None => Client::to(self.addr).exchange(&bytes, head_only),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !has("host") {
            head.push_str(&format!("Host: {}\r\n", self.addr));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = self.body.as_deref().unwrap_or_default();
        if self.body.is_some() && !has("content-length") && !has("transfer-encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("the body is no JSON ({error}): {:?}", self.text()),
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        check(self.status == status, || {
            format!("expected {status}, got {}: {}", self.status, self.text())
        });
        self
    }

    /// Checks status, code and shape of an error body and returns it.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        check(self.status == status, || {
            format!(
                "expected {status} {code}, got {}: {}",
                self.status,
                self.text()
            )
        });
        let body = self.json();
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let whole = text("error") == code
            && body["code"] == status
            && !text("message").is_empty()
            && !text("request_id").is_empty();
        check(whole, || {
            format!("expected a whole error body of {status} {code}, got {body}")
        });
        body
    }
}

/// Sends bytes as they are on a new connection and reads one response.
#[track_caller]
pub fn raw(addr: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = connect(addr).expect("the relay listens");
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    match read_response(&mut BufReader::new(stream), false) {
        Ok(response) => response,
        Err(error) => panic!(
            "no response to {:?}: {error}",
            String::from_utf8_lossy(bytes)
        ),
    }
}

pub fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    Ok(stream)
}

/// Reads one response; interim 1xx answers are skipped (but 101 is final).
pub fn read_response(reader: &mut impl BufRead, head_only: bool) -> std::io::Result<Response> {
    loop {
        let (status, headers) = read_head(reader)?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let bodyless = head_only || matches!(status, 101 | 204 | 304);
        if !bodyless {
            let framing = Framing::of(&response);
            Body::new(reader, framing).read_to_end(&mut response.body)?;
        }
        return Ok(response);
    }
}

/// Status and headers of a response.
pub fn read_head(reader: &mut impl BufRead) -> std::io::Result<(u16, Vec<(String, String)>)> {
    let first = read_line(reader)?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| broken(format!("no status line: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| broken(format!("no header: {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy)]
pub enum Framing {
    Length(u64),
    Chunked { left: u64, ended: bool },
    UntilClose,
}

impl Framing {
    pub fn of(response: &Response) -> Framing {
        if response
            .header("transfer-encoding")
            .is_some_and(|te| te.contains("chunked"))
        {
            return Framing::Chunked {
                left: 0,
                ended: false,
            };
        }
        match response
            .header("content-length")
            .and_then(|length| length.parse().ok())
        {
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }
}

/// A body without its framing, readable as it arrives.
pub struct Body<R> {
    reader: R,
    framing: Framing,
}

impl<R: BufRead> Body<R> {
    pub fn new(reader: R, framing: Framing) -> Body<R> {
        Body { reader, framing }
    }

    pub fn get_ref(&self) -> &R {
        &self.reader
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.framing {
            Framing::UntilClose => self.reader.read(buffer),
            Framing::Length(0) => Ok(0),
            Framing::Length(left) => {
                let most = buffer
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                let got = self.reader.read(&mut buffer[..most])?;
                if got == 0 {
                    return Err(broken(format!("the body ends {left} bytes early")));
                }
                *left -= got as u64;
                Ok(got)
            }
            Framing::Chunked { ended: true, .. } => Ok(0),
            Framing::Chunked { left, ended } => {
                if *left == 0 {
                    let line = read_line(&mut self.reader)?;
                    *left = u64::from_str_radix(line.trim(), 16)
                        .map_err(|_| broken(format!("no chunk size: {line:?}")))?;
                    if *left == 0 {
                        read_line(&mut self.reader)?;
                        *ended = true;
                        return Ok(0);
                    }
                }
                let most = buffer
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                let got = self.reader.read(&mut buffer[..most])?;
                if got == 0 {
                    return Err(broken("a chunk ends early".to_owned()));
                }
                *left -= got as u64;
                if *left == 0 {
                    read_line(&mut self.reader)?;
                }
                Ok(got)
            }
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&line);
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn broken(what: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}
