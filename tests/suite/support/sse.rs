//! A reader of server-sent events.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::http::{Body, Framing, Response, connect, read_head};
use super::{SOON, check};

/// An open stream; `head` holds status and headers of the answer.
pub struct Events {
    pub head: Response,
    lines: BufReader<Body<BufReader<TcpStream>>>,
    socket: TcpStream,
}

/// One block of the stream, up to its empty line.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub comment: Option<String>,
    pub retry: Option<String>,
}

impl Events {
    #[track_caller]
    pub fn open(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Events {
        let events = Events::try_open(addr, path, headers).expect("the relay answers");
        check(events.head.status == 200, || {
            format!(
                "expected an event stream at {path}, got {}",
                events.head.status
            )
        });
        events
    }

    /// For streams that may be refused or whose relay may be gone.
    pub fn try_open(
        addr: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> std::io::Result<Events> {
        let mut socket = connect(addr)?;
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        socket.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(socket.try_clone()?);
        let (status, headers) = read_head(&mut reader)?;
        let head = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let framing = Framing::of(&head);
        Ok(Events {
            head,
            lines: BufReader::new(Body::new(reader, framing)),
            socket,
        })
    }

    /// The next block of any kind, heartbeats and start cursor included.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        match self.try_next(SOON) {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the event stream has ended"),
            Err(error) => panic!("no event: {error}"),
        }
    }

    /// The JSON of the next block that carries data.
    #[track_caller]
    pub fn next_json(&mut self) -> Value {
        loop {
            if let Some(data) = self.next().data {
                return serde_json::from_str(&data).expect("data is JSON");
            }
        }
    }

    /// The next block; `None` at the end of the stream.
    pub fn try_next(&mut self, patience: Duration) -> std::io::Result<Option<Event>> {
        self.socket.set_read_timeout(Some(patience))?;
        let mut event = Event::default();
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let text = line.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                if event == Event::default() {
                    continue;
                }
                return Ok(Some(event));
            }
            event.take(text);
        }
    }
}

impl Event {
    fn take(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let slot = match field {
            "id" => &mut self.id,
            "event" => &mut self.event,
            "data" => &mut self.data,
            "retry" => &mut self.retry,
            "" => &mut self.comment,
            _ => return,
        };
        match slot {
            Some(text) => {
                text.push('\n');
                text.push_str(value);
            }
            None => *slot = Some(value.to_owned()),
        }
    }
}
