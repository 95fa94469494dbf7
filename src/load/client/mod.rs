//! The load client: HTTP/1.1 and HTTP/2 with k6's timings, one set of connections per VU.
//!
//! Runs on the VU's worker thread, nothing here is `Send`. It performs single round trips;
//! redirects, cookies and samples are the business of `load::js::modules::http`. Dropping a round
//! trip closes its connection.

mod address;
mod connection;
mod decode;
mod dns;
mod download;
mod exchange;
mod failure;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
mod http2;
mod ocsp;
mod patient;
mod tls;
mod upload;
pub(crate) mod websocket;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
#[cfg(feature = "grpc")]
use url::Url;

pub(crate) use self::address::{Address, AddressBook};
pub(crate) use self::connection::{Meter, Stream};
pub(crate) use self::decode::{Coding, decode};
pub(crate) use self::dns::Dns;
pub(crate) use self::download::Download;
pub(crate) use self::exchange::wire_head;
pub(crate) use self::failure::Failure;
pub(crate) use self::tls::{Alpn, Tls, TlsFacts};

use self::connection::{Connection, Network};
use self::http2::Session;
use super::metrics::Timings;

/// Sessions tried for one request: a server may refuse streams or say goodbye at any time.
const SESSIONS_TRIED_MAX: u32 = 3;

/// One request as it goes onto the wire. `Host` and `Content-Length` are added here unless given.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Rc<str>,
    pub(crate) address: Rc<Address>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) reuse: Reuse,
    pub(crate) take: Body,
}

/// What becomes of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Kept; one that is larger fails the request.
    Keep { bytes_max: usize },
    /// Read to its end and dropped.
    Discard,
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
    /// `None` without TLS.
    pub(crate) tls: Option<Rc<TlsFacts>>,
}

/// A round trip with its phases, which are there for a failed one too as far as it came.
#[derive(Debug)]
pub(crate) struct RoundTrip {
    pub(crate) timings: Timings,
    /// The server's address, if it came to a connection.
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) outcome: Result<Answer, Failure>,
}

impl RoundTrip {
    /// Nothing went out, so there is nothing to measure.
    pub(crate) fn failed(failure: Failure) -> RoundTrip {
        RoundTrip {
            timings: Timings::default(),
            remote: None,
            outcome: Err(failure),
        }
    }
}

/// How far a request has come.
#[derive(Default)]
struct Trip {
    timings: Timings,
    remote: Option<SocketAddr>,
}

impl Trip {
    fn end(self, begun: Instant, outcome: Result<Answer, Failure>) -> RoundTrip {
        let Trip {
            mut timings,
            remote,
        } = self;
        if outcome.is_err() {
            close_timings(&mut timings, begun);
        }
        RoundTrip {
            timings,
            remote,
            outcome,
        }
    }
}

/// A VU's connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Rc<Inner>);

struct Inner {
    network: Network,
    idle: RefCell<HashMap<String, Vec<Connection>>>,
    /// At most one per origin: its requests share it.
    sessions: RefCell<HashMap<String, Session>>,
    idle_per_origin_max: usize,
}

/// What a VU's client is made with.
pub(crate) struct Setting {
    /// `dns` and `tls` are shared by all VUs of a worker.
    pub(crate) dns: Rc<Dns>,
    pub(crate) tls: Rc<Tls>,
    /// Counts this VU's bytes.
    pub(crate) meter: Rc<Meter>,
    /// Where connections go out from (`localIPs`).
    pub(crate) local_ip: Option<IpAddr>,
    /// Idle connections kept per origin; more are closed after their request.
    pub(crate) idle_per_origin_max: usize,
}

impl Client {
    pub(crate) fn new(setting: Setting) -> Client {
        Client(Rc::new(Inner {
            network: Network {
                dns: setting.dns,
                tls: setting.tls,
                meter: setting.meter,
                local_ip: setting.local_ip,
            },
            idle: RefCell::default(),
            sessions: RefCell::default(),
            idle_per_origin_max: setting.idle_per_origin_max,
        }))
    }

    /// Closes all idle connections (`noVUConnectionReuse`, the end of the VU).
    pub(crate) fn close_idle(&self) {
        self.0.idle.borrow_mut().clear();
        self.0.sessions.borrow_mut().clear();
    }

    /// One request and its answer within `timeout`.
    pub(crate) async fn round_trip(&self, request: &Request, timeout: Duration) -> RoundTrip {
        let mut trip = Trip::default();
        let begun = Instant::now();
        let work = self.attempts(request, begun, &mut trip);
        let outcome = match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::timeout()),
        };
        trip.end(begun, outcome)
    }

    /// A kept connection may have been closed by the server meanwhile: that one is replaced, as
    /// long as nothing of an answer has come and repeating can do no harm.
    async fn attempts(
        &self,
        request: &Request,
        begun: Instant,
        trip: &mut Trip,
    ) -> Result<Answer, Failure> {
        let origin = &request.address.origin;
        while let Some(mut connection) = self.take_idle(origin) {
            trip.timings.blocked = begun.elapsed();
            trip.remote = Some(connection.remote);
            match exchange::exchange(&mut connection, request, &mut trip.timings).await {
                Ok((answer, keep)) => {
                    self.give_back(origin, connection, keep);
                    return Ok(answer);
                }
                Err(exchange::Broken { failure, stale }) if !stale => return Err(failure),
                Err(_) => trip.timings = Timings::default(),
            }
        }
        self.on_new_connection(request, begun, trip).await
    }

    /// Seldom taken and large: made on the heap and not inlined, so that it costs no VU's stack
    /// while it does not run.
    #[inline(never)]
    fn on_new_connection<'a>(
        &'a self,
        request: &'a Request,
        begun: Instant,
        trip: &'a mut Trip,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'a>> {
        Box::pin(self.open_and_exchange(request, begun, trip))
    }

    async fn open_and_exchange(
        &self,
        request: &Request,
        begun: Instant,
        trip: &mut Trip,
    ) -> Result<Answer, Failure> {
        let address = &request.address;
        let origin = &address.origin;
        let mut tried = 0;
        loop {
            tried += 1;
            let session = match self.session(origin) {
                Some(session) => session,
                None => {
                    let network = &self.0.network;
                    let opened =
                        Connection::open(&address.url, Alpn::Both, network, &mut trip.timings);
                    let mut connection = opened.await?;
                    if !connection.is_http2 {
                        trip.timings.blocked = begun.elapsed();
                        trip.remote = Some(connection.remote);
                        let exchanged =
                            exchange::exchange(&mut connection, request, &mut trip.timings);
                        let (answer, keep) = exchanged.await.map_err(|broken| broken.failure)?;
                        self.give_back(origin, connection, keep);
                        return Ok(answer);
                    }
                    self.keep_session(origin, Session::begin(connection).await?)
                }
            };
            trip.timings.blocked = begun.elapsed();
            trip.remote = Some(session.remote());
            match session.exchange(request, &mut trip.timings).await {
                Ok(answer) => {
                    if request.reuse == Reuse::Close {
                        self.0.sessions.borrow_mut().remove(origin);
                    }
                    return Ok(answer);
                }
                Err(broken) if broken.stale && tried < SESSIONS_TRIED_MAX => {
                    self.0.sessions.borrow_mut().remove(origin);
                    trip.timings = Timings::default();
                }
                Err(broken) => return Err(broken.failure),
            }
        }
    }

    fn session(&self, origin: &str) -> Option<Session> {
        let mut sessions = self.0.sessions.borrow_mut();
        let session = sessions.get(origin)?;
        if session.is_open() {
            return Some(session.clone());
        }
        sessions.remove(origin);
        None
    }

    /// The first of several that were begun at the same time stays.
    fn keep_session(&self, origin: &str, session: Session) -> Session {
        if let Some(known) = self.session(origin) {
            return known;
        }
        let mut sessions = self.0.sessions.borrow_mut();
        sessions.insert(origin.to_owned(), session.clone());
        session
    }

    /// A request that asks for another protocol, on a connection of its own: the answer, and the
    /// connection as it stands behind it.
    pub(crate) async fn upgrade(&self, request: &Request) -> Result<(Answer, Connection), Failure> {
        let mut timings = Timings::default();
        let network = &self.0.network;
        let opened = Connection::open(&request.address.url, Alpn::Http1, network, &mut timings);
        let mut connection = opened.await?;
        let (answer, _) = exchange::exchange(&mut connection, request, &mut timings)
            .await
            .map_err(|broken| broken.failure)?;
        Ok((answer, connection))
    }

    /// A connection of its own for a protocol over HTTP/2; `tls`: instead of the run's settings.
    #[cfg(feature = "grpc")]
    pub(crate) async fn dial_http2(&self, url: &Url, tls: Option<Tls>) -> Result<Stream, Failure> {
        let mut timings = Timings::default();
        let own = &self.0.network;
        let network = Network {
            dns: own.dns.clone(),
            tls: tls.map_or_else(|| own.tls.clone(), Rc::new),
            meter: own.meter.clone(),
            local_ip: own.local_ip,
        };
        let opened = Connection::open(url, Alpn::Http2, &network, &mut timings);
        Ok(opened.await?.into_stream().0)
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

    fn give_back(&self, origin: &str, mut connection: Connection, keep: exchange::Keep) {
        if keep == exchange::Keep::No {
            return;
        }
        // Most connections of a run are idle: they need not keep 8 KiB for the next answer.
        if connection.buffer.is_empty() {
            connection.buffer = BytesMut::new();
        }
        let mut idle = self.0.idle.borrow_mut();
        if !idle.contains_key(origin) {
            idle.insert(origin.to_owned(), Vec::new());
        }
        if let Some(connections) = idle.get_mut(origin)
            && connections.len() < self.0.idle_per_origin_max
        {
            connections.push(connection);
        }
    }
}

/// The phase that a request failed in lasts until now. As in k6, a request that was never sent in
/// full has none.
fn close_timings(timings: &mut Timings, begun: Instant) {
    let known = timings.blocked + timings.sending + timings.waiting;
    let rest = begun.elapsed().saturating_sub(known);
    let is_sent = !timings.sending.is_zero();
    if is_sent && timings.waiting.is_zero() {
        timings.waiting = rest;
    } else if is_sent && timings.receiving.is_zero() {
        timings.receiving = rest;
    }
}
