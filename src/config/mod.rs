//! Validated configuration of the relay: flags over `DCHAT_*` environment over `dchat.toml` over
//! defaults. A leaf; below it nobody re-checks.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::limits::Limits;

/// Everything that `Server::bind` needs, already validated.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Absolute path; created with mode 0700 if missing.
    pub data_dir: PathBuf,
    /// Addresses to listen on, the first one is the main one. Empty means 127.0.0.1 and, where the
    /// machine has it, ::1.
    pub bind: Vec<IpAddr>,
    /// 0 takes a free port; further addresses then take the first one's port.
    pub port: u16,
    /// `--open`: anyone who can reach the relay may act for any user, said in words.
    pub open: bool,
    pub limits: Limits,
}
