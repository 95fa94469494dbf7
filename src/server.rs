//! The only place that wires parts: bind, open storage, run, drain.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::ServerConfig;
use crate::shutdown;

/// A relay whose data directory is locked and whose listeners are bound.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    local_addrs: Vec<SocketAddr>,
}

impl Server {
    /// Locks the data directory and binds. Blocking; needs no runtime.
    pub fn bind(config: ServerConfig) -> Result<Server, Error> {
        Ok(Server {
            config,
            local_addrs: Vec::new(),
        })
    }

    /// Bound addresses, the main one first.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Serves until `stop` is raised or storage fails, then drains. Opens and migrates storage
    /// beside serving; until that is done every route but `/health` answers 503 `STARTING`.
    pub async fn run(self, stop: shutdown::Signal) -> Result<Ended, Error> {
        let _ = (&self.config, stop);
        unimplemented!()
    }
}

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
    #[error("storage failed: {reason}; what was not answered may or may not be stored")]
    StorageFailed { reason: String },
    #[error("the drain took longer than {}s; still open: {open}", deadline.as_secs())]
    DrainDeadline { deadline: Duration, open: String },
}

impl Error {
    /// 3 refused to start, 4 storage failed, 5 drain deadline passed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Bind { .. } | Error::NotLoopback { .. } | Error::Open(_) => 3,
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
