//! A WebSocket server that echoes, and misbehaves where its path says so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{Error, accept_hdr};

/// Messages of a thousand bytes.
const FLOOD: usize = 20_000;

/// What a path of the test server does:
/// `/echo` echoes · `/ping` pings once · `/close` closes with 4001 "enough" · `/bye` with 1001 ·
/// `/eof` drops the connection · `/reset` resets it · `/flood` sends at once what no buffer takes · `/mute` never reads ·
/// `/refuse` answers 418 · `/deflate` speaks permessage-deflate.
pub(super) fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = serve(stream);
            });
        }
    });
    port
}

#[expect(
    clippy::result_large_err,
    reason = "the library's callback has this type"
)]
fn serve(mut stream: TcpStream) -> Result<(), Box<Error>> {
    let mut start = [0; 64];
    let length = stream.peek(&mut start).map_err(Error::from)?;
    let start = String::from_utf8_lossy(&start[..length]).into_owned();
    if start.starts_with("GET /refuse") {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let answer = "HTTP/1.1 418 Teapot\r\nX-Why: tea\r\nContent-Length: 5\r\n\r\nshort";
        let _ = stream.write_all(answer.as_bytes());
        return Ok(());
    }
    let mut path = String::new();
    let mut seen = String::new();
    let mut socket = accept_hdr(stream, |request: &Request, mut response: Response| {
        path = request.uri().path().to_owned();
        let header = |name: &str| request.headers().get(name).cloned();
        for name in ["user-agent", "x-mine", "cookie", "sec-websocket-extensions"] {
            let value = header(name).map_or_else(String::new, |v| v.to_str().unwrap().to_owned());
            seen.push_str(&format!("{name}={value};"));
        }
        let headers = response.headers_mut();
        if header("sec-websocket-protocol").is_some() {
            headers.insert("Sec-WebSocket-Protocol", "chosen".parse().unwrap());
        }
        headers.insert("Set-Cookie", "fresh=1".parse().unwrap());
        Ok(response)
    })
    .map_err(|_| Error::ConnectionClosed)?;
    match path.as_str() {
        "/seen" => {
            socket.send(Message::text(seen)).map_err(Box::new)?;
        }
        "/ping" => {
            socket.send(Message::Ping("x".into())).map_err(Box::new)?;
            // Only a client that answers gets the message.
            while !matches!(socket.read().map_err(Box::new)?, Message::Pong(_)) {}
            socket.send(Message::text("ponged")).map_err(Box::new)?;
        }
        "/close" => close(&mut socket, 4001, "enough"),
        "/bye" => close(&mut socket, 1001, ""),
        "/eof" => return Ok(()),
        "/reset" => {
            let raw = socket2::SockRef::from(socket.get_ref());
            raw.set_linger(Some(Duration::ZERO)).map_err(Error::from)?;
            return Ok(());
        }
        "/flood" => {
            for _ in 0..FLOOD {
                let text = "x".repeat(1000);
                socket.send(Message::text(text)).map_err(Box::new)?;
            }
        }
        "/mute" => {
            std::thread::sleep(Duration::from_secs(60));
        }
        _ => {}
    }
    loop {
        match socket.read().map_err(Box::new)? {
            Message::Close(_) => {}
            message @ (Message::Text(_) | Message::Binary(_)) => {
                socket.send(message).map_err(Box::new)?;
            }
            _ => {}
        }
    }
}

fn close(socket: &mut tokio_tungstenite::tungstenite::WebSocket<TcpStream>, code: u16, why: &str) {
    let frame = CloseFrame {
        code: CloseCode::from(code),
        reason: why.into(),
    };
    let _ = socket.close(Some(frame));
}
