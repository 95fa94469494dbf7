//! The load client: HTTP/1.1 with k6's timings, one set of connections per VU.
//!
//! Runs on the VU's worker thread, nothing here is `Send`. It performs single round trips;
//! redirects, cookies and samples are the business of `load::js::modules::http`. Dropping a round
//! trip closes its connection.

mod connection;
mod decode;
mod dns;
mod exchange;
mod failure;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use url::Url;

pub(crate) use self::connection::{Meter, Tls};
pub(crate) use self::decode::decode;
pub(crate) use self::dns::Dns;
pub(crate) use self::failure::Failure;

use self::connection::Connection;
use super::metrics::Timings;

/// Idle connections kept per origin; more are closed after their request.
const IDLE_PER_ORIGIN_MAX: usize = 16;

/// One request as it goes onto the wire. `Host` and `Content-Length` are added here unless given.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Rc<str>,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) reuse: Reuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    KeepAlive,
    /// `noConnectionReuse`.
    Close,
}

/// What came back, body decoded from its transfer coding but not from its content coding.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// In the order received, names as received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) proto: &'static str,
    pub(crate) remote: SocketAddr,
    /// `tls1.2` or `tls1.3`.
    pub(crate) tls_version: Option<&'static str>,
}

/// A round trip with its phases, which are there for a failed one too as far as it came.
#[derive(Debug)]
pub(crate) struct RoundTrip {
    pub(crate) timings: Timings,
    pub(crate) outcome: Result<Answer, Failure>,
}

/// A VU's connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Rc<Inner>);

struct Inner {
    dns: Rc<Dns>,
    tls: Rc<Tls>,
    meter: Rc<Meter>,
    idle: RefCell<HashMap<String, Vec<Connection>>>,
}

impl Client {
    /// `dns` and `tls` are shared by all VUs of a worker; `meter` counts this VU's bytes.
    pub(crate) fn new(dns: Rc<Dns>, tls: Rc<Tls>, meter: Rc<Meter>) -> Client {
        Client(Rc::new(Inner {
            dns,
            tls,
            meter,
            idle: RefCell::new(HashMap::new()),
        }))
    }

    /// Closes all idle connections (`noVUConnectionReuse`, the end of the VU).
    pub(crate) fn close_idle(&self) {
        self.0.idle.borrow_mut().clear();
    }

    /// One request and its answer within `timeout`.
    pub(crate) async fn round_trip(&self, request: &Request, timeout: Duration) -> RoundTrip {
        let mut timings = Timings::default();
        let begun = Instant::now();
        let work = self.attempts(request, begun, &mut timings);
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => RoundTrip { timings, outcome },
            Err(_) => {
                // What was under way when the time ran out counts as waiting.
                let known = timings.blocked + timings.sending;
                timings.waiting = begun.elapsed().saturating_sub(known);
                RoundTrip {
                    timings,
                    outcome: Err(Failure::timeout()),
                }
            }
        }
    }

    /// A kept connection may have been closed by the server meanwhile: that one is replaced once,
    /// as long as nothing of an answer has come and repeating can do no harm.
    async fn attempts(
        &self,
        request: &Request,
        begun: Instant,
        timings: &mut Timings,
    ) -> Result<Answer, Failure> {
        let origin = origin(&request.url);
        while let Some(mut connection) = self.take_idle(&origin) {
            timings.blocked = begun.elapsed();
            match exchange::exchange(&mut connection, request, timings).await {
                Ok((answer, keep)) => {
                    self.give_back(origin, connection, keep);
                    return Ok(answer);
                }
                Err(exchange::Broken { failure, stale }) if !stale => return Err(failure),
                Err(_) => *timings = Timings::default(),
            }
        }
        let mut connection = Connection::open(
            &request.url,
            &self.0.dns,
            &self.0.tls,
            &self.0.meter,
            timings,
        )
        .await?;
        timings.blocked = begun.elapsed();
        let (answer, keep) = exchange::exchange(&mut connection, request, timings)
            .await
            .map_err(|broken| broken.failure)?;
        self.give_back(origin, connection, keep);
        Ok(answer)
    }

    fn take_idle(&self, origin: &str) -> Option<Connection> {
        let mut idle = self.0.idle.borrow_mut();
        let connections = idle.get_mut(origin)?;
        while let Some(mut connection) = connections.pop() {
            connection.reused = true;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, origin: String, mut connection: Connection, keep: exchange::Keep) {
        if keep == exchange::Keep::No {
            return;
        }
        // Most connections of a run are idle: they need not keep 8 KiB for the next answer.
        if connection.buffer.is_empty() {
            connection.buffer = BytesMut::new();
        }
        let mut idle = self.0.idle.borrow_mut();
        let connections = idle.entry(origin).or_default();
        if connections.len() < IDLE_PER_ORIGIN_MAX {
            connections.push(connection);
        }
    }
}

fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}://{host}:{port}", url.scheme())
}
