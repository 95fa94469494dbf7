//! An HTTP/1.1 server in threads that answers as a test says, well or badly, and remembers what it
//! was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// In the order sent, names as sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Seen {
    /// The first header of this name; empty without one.
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Keep,
    Close,
    /// Ended by a reset.
    Reset,
}

pub struct Origin {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    /// `answer` writes to the connection what it likes.
    pub fn start<F>(answer: F) -> Origin
    where
        F: Fn(&Seen, &mut TcpStream) -> After + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer, count) = (seen.clone(), Arc::new(answer), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                let connection = count.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream, connection, &kept, &*answer));
            }
        });
        Origin { addr, seen }
    }

    /// Every answer is 200 with what this gives for the request.
    pub fn saying<F>(body: F) -> Origin
    where
        F: Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    {
        Origin::start(move |seen, stream| reply(stream, "200 OK", &[], &body(seen)))
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything it was sent, in the order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no thread panics with it").clone()
    }
}

/// A complete answer with its length.
pub fn reply(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) -> After {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    raw(stream, &[head.as_bytes(), b"\r\n", body].concat());
    After::Keep
}

/// Bytes as they are; a client that has gone does not matter.
pub fn raw(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
}

fn serve(
    stream: TcpStream,
    connection: usize,
    kept: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(&Seen, &mut TcpStream) -> After + Send + Sync),
) {
    let Ok(mut out) = stream.try_clone() else {
        return;
    };
    let _ = out.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read(&mut reader, connection) {
        kept.lock()
            .expect("no thread panics with it")
            .push(seen.clone());
        match answer(&seen, &mut out) {
            After::Keep => {}
            After::Close => break,
            After::Reset => {
                let _ = socket2::SockRef::from(&out).set_linger(Some(Duration::ZERO));
                return;
            }
        }
    }
    let _ = out.shutdown(std::net::Shutdown::Both);
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut parts = line.trim_end().splitn(3, ' ');
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen {
        method,
        target,
        headers,
        body: Vec::new(),
        connection,
    };
    let length = seen.header("content-length").parse().unwrap_or(0);
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
