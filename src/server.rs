//! The only place that wires parts: lock and bind, open storage beside serving, run, drain.
//!
//! [`Server::bind`] takes what another process could hold: the data directory's lock and the
//! ports. [`Server::run`] serves at once and opens storage beside it. Drain order: readiness fails
//! and nothing is accepted, requests finish and sessions close, the writer works off its queue and
//! closes, the lock goes last.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::ServerConfig;
use crate::http::accept;
use crate::http::app::{App, Stores};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::results::Results;
use crate::shutdown::{self, Phase, Phases};
use crate::storage::{self, DirLock, Storage};

/// Connections that may wait for us to accept them; the system cuts it to its own limit.
const BACKLOG: i32 = 4_096;
/// Attempts to find one free port for all addresses.
const PORT_ATTEMPTS: usize = 16;

/// A relay whose data directory is locked and whose listeners are bound.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    lock: DirLock,
    listeners: Vec<TcpListener>,
    local_addrs: Vec<SocketAddr>,
}

impl Server {
    /// Locks the data directory and binds. Blocking; needs no runtime.
    ///
    /// # Errors
    /// Nothing was changed but the directory, which may have been created.
    pub fn bind(config: ServerConfig) -> Result<Server, Error> {
        if let Some(&addr) = config.bind.iter().find(|addr| !addr.is_loopback())
            && !config.open
        {
            return Err(Error::NotLoopback { addr });
        }
        raise_file_limit();
        let lock = DirLock::acquire(&config.data_dir).map_err(|error| Error::Open(error.into()))?;
        let listeners = listen(&config)?;
        let addrs = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<_>>();
        let local_addrs = addrs.map_err(|source| Error::Io {
            what: "reading a listener's address",
            source,
        })?;
        Ok(Server {
            config,
            lock,
            listeners,
            local_addrs,
        })
    }

    /// Bound addresses, the main one first.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Serves until `stop` is raised or storage fails, then drains. Opens and migrates storage
    /// beside serving; until that is done every route but `/health` answers 503 `STARTING`.
    ///
    /// # Errors
    /// Storage did not open or has failed, or the drain took too long. `stop` is raised then too.
    pub async fn run(self, stop: shutdown::Signal) -> Result<Ended, Error> {
        let Server {
            config,
            lock,
            listeners,
            local_addrs,
        } = self;
        let limits = Arc::new(config.limits);
        let metrics = Arc::new(Metrics::new());
        let app = App::new(
            limits.clone(),
            metrics.clone(),
            stop.clone(),
            config.open,
            local_addrs.clone(),
        );
        let listeners = listeners.into_iter().map(tokio::net::TcpListener::from_std);
        let listeners = listeners
            .collect::<io::Result<Vec<_>>>()
            .map_err(|source| Error::Io {
                what: "handing a listener to the runtime",
                source,
            })?;
        accept::serve(&app, listeners);
        let opened = open(&lock, limits.clone(), metrics).await;
        let (storage, results) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                stop.trigger();
                return Err(error);
            }
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            addresses = ?local_addrs,
            data_dir = %lock.dir().display(),
            database_bytes = storage.status().database_bytes,
            messages = storage.status().messages_stored,
            limits = ?limits,
            "serving"
        );
        let relay = Relay::new(storage.clone());
        let stores = Stores {
            relay,
            results: results.clone(),
        };
        app.serve(stores);
        let failed = tokio::select! {
            () = stop.triggered() => false,
            () = storage.failed() => true,
        };
        stop.trigger();
        let drained = drain(&app, &limits, storage.clone(), results).await;
        if failed || has_failed(&storage).await {
            return Err(Error::StorageFailed {
                reason: "a sync to the disk failed".to_owned(),
            });
        }
        drained
    }
}

/// Whether storage has failed by now.
async fn has_failed(storage: &Storage) -> bool {
    tokio::time::timeout(Duration::ZERO, storage.failed())
        .await
        .is_ok()
}

/// Opens both databases on a blocking thread.
async fn open(
    lock: &DirLock,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
) -> Result<(Storage, Results), Error> {
    let dir = lock.dir().to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        let storage = Storage::open(&dir, limits.clone(), metrics)?;
        match Results::open(&dir, &limits) {
            Ok(results) => Ok((storage, results)),
            Err(error) => {
                storage.close();
                Err(error)
            }
        }
    });
    let opened = opening.await.map_err(|error| Error::Open(error.into()))?;
    opened.map_err(|error: storage::Error| Error::Open(error.into()))
}

/// Connections first, then storage, within one deadline.
async fn drain(
    app: &App,
    limits: &Limits,
    storage: Storage,
    results: Results,
) -> Result<Ended, Error> {
    let begun = Instant::now();
    let deadline = limits.drain_timeout;
    let phases = Phases::new();
    phases.enter(Phase::Connections);
    tracing::info!(deadline_ms = deadline.as_millis() as u64, "draining");
    app.tasks.close();
    // A fifth is left for storage, which closes quickly unless the disk is slow.
    let connections = tokio::time::timeout(deadline * 4 / 5, app.tasks.wait()).await;
    let open = connections.is_err().then(|| still_open(app));
    phases.enter(Phase::Storage);
    let closing = tokio::task::spawn_blocking(move || {
        results.close();
        storage.close();
    });
    let left = deadline.saturating_sub(begun.elapsed());
    let closed = tokio::time::timeout(left, closing).await;
    let open = open.or_else(|| closed.is_err().then(|| "storage".to_owned()));
    if let Some(open) = open {
        return Err(Error::DrainDeadline { deadline, open });
    }
    phases.enter(Phase::Done);
    let drain = begun.elapsed();
    tracing::info!(drain_ms = drain.as_millis() as u64, "stopped");
    Ok(Ended { drain })
}

fn still_open(app: &App) -> String {
    let metrics = &app.metrics;
    format!(
        "{} connections, {} WebSockets",
        metrics.connections.get(),
        metrics.websockets.get()
    )
}

/// The configured addresses, or 127.0.0.1 and, where the machine has it, ::1. With port 0 all take
/// the port that the first one got.
fn listen(config: &ServerConfig) -> Result<Vec<TcpListener>, Error> {
    let default = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let (addresses, all_needed) = match config.bind.as_slice() {
        [] => (&default[..], false),
        said => (said, true),
    };
    let mut attempts = if config.port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match listen_on(addresses, config.port, all_needed) {
            // Another process has the port on a further address.
            Err(Error::Bind { source, .. })
                if attempts > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

fn listen_on(
    addresses: &[IpAddr],
    mut port: u16,
    all_needed: bool,
) -> Result<Vec<TcpListener>, Error> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for &address in addresses {
        let addr = SocketAddr::new(address, port);
        match bind_one(addr) {
            Ok(listener) => {
                port = listener.local_addr().map_or(port, |bound| bound.port());
                listeners.push(listener);
            }
            Err(error) if !all_needed && is_missing(&error) && !listeners.is_empty() => {}
            Err(source) => return Err(Error::Bind { addr, source }),
        }
    }
    Ok(listeners)
}

/// The machine has no such address, IPv6 switched off for instance.
fn is_missing(error: &io::Error) -> bool {
    /// Linux's EAFNOSUPPORT, which `ErrorKind` does not name.
    const NO_SUCH_FAMILY: i32 = 97;
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted relay gets its port back although old connections linger. On Windows the option
    // would let two processes share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Every connection is a descriptor; the usual soft limit is 1,024.
#[cfg(unix)]
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

#[cfg(not(unix))]
fn raise_file_limit() {}

/// How a run that stopped on request ended.
#[derive(Debug)]
pub struct Ended {
    /// From the stop signal to everything closed.
    pub drain: Duration,
}

/// Why a relay did not start, or ended other than by a clean drain. [`Error::exit_code`] has the
/// number for the shell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't listen on {addr}")]
    Bind {
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "{addr} is not a loopback address, and in open mode anyone who reaches the relay may act for any user"
    )]
    NotLoopback { addr: IpAddr },
    #[error("can't open the storage")]
    Open(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{what} failed")]
    Io {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("storage failed: {reason}; what was not answered may or may not be stored")]
    StorageFailed { reason: String },
    #[error("the drain took longer than {}s; still open: {open}", deadline.as_secs())]
    DrainDeadline { deadline: Duration, open: String },
}

impl Error {
    /// 3 refused to start, 4 storage failed, 5 drain deadline passed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Bind { .. } | Error::NotLoopback { .. } | Error::Open(_) | Error::Io { .. } => 3,
            Error::StorageFailed { .. } => 4,
            Error::DrainDeadline { .. } => 5,
        }
    }

    /// The next step for the person who reads the error, printed on a line of its own.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotLoopback { .. } => {
                Some("bind to 127.0.0.1, or pass --open if that is what you want".into())
            }
            Error::Bind { .. } => Some("choose another --port, or --port 0 for a free one".into()),
            _ => None,
        }
    }
}
