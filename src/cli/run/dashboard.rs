//! `K6_WEB_DASHBOARD=true` and `--out web-dashboard[=key=value&…]`: the results page for one run,
//! served by this process while the run goes on, and its report as a file at the end.
//!
//! k6's own names and defaults; behind them stands our server on a data directory that is removed
//! with the run. The page and the file are the same as a relay's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinHandle;
use url::Url;

use crate::config::ServerConfig;
use crate::http_client::Client;
use crate::limits::Limits;
use crate::server::{self, Server};
use crate::shutdown;

/// k6's own port, so that bookmarks stay.
const PORT: u16 = 5665;
const VARIABLE: &str = "K6_WEB_DASHBOARD";
/// Longest wait for the report.
const REPORT_WITHIN: Duration = Duration::from_secs(30);

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    host: String,
    /// `None`: no page, only the report (k6's port -1).
    port: Option<u16>,
    export: Option<PathBuf>,
    open: bool,
}

impl Wanted {
    /// Reads `K6_WEB_DASHBOARD*` and the argument of `--out web-dashboard`, which wins.
    ///
    /// # Errors
    /// A value that cannot be used, or a setting that is not there.
    pub(super) fn read(
        environment: &[(String, String)],
        out: Option<Option<&str>>,
    ) -> anyhow::Result<Option<Wanted>> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| key == name);
            found
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        let asked = variable(VARIABLE).is_some_and(|text| text == "true" || text == "1");
        if !asked && out.is_none() {
            return Ok(None);
        }
        let mut given = BTreeMap::new();
        for key in ["host", "port", "export", "open", "period", "record", "tags"] {
            if let Some(value) = variable(&format!("{VARIABLE}_{}", key.to_uppercase())) {
                given.insert(key.to_owned(), value);
            }
        }
        for pair in out
            .flatten()
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            given.insert(key.to_owned(), value.to_owned());
        }
        let mut wanted = Wanted {
            host: "localhost".to_owned(),
            port: Some(PORT),
            export: None,
            open: false,
        };
        for (key, value) in given {
            match key.as_str() {
                "host" => wanted.host = value,
                "port" if value == "-1" => wanted.port = None,
                "port" => {
                    let rule = "the web dashboard's port must be 0 to 65535, or -1 for no page";
                    wanted.port = Some(value.parse().with_context(|| rule)?);
                }
                "export" | "report" => wanted.export = Some(PathBuf::from(value)),
                "open" => wanted.open = value.is_empty() || value == "true" || value == "1",
                // The page shows whole seconds of everything; nothing is left out.
                "period" | "tags" => {}
                "record" => bail!(
                    "the web dashboard writes no recording\nhint: --report-to URL stores the run; \
                     --out json=FILE writes its samples"
                ),
                _ => bail!(
                    "the web dashboard has no setting {key:?}\nhint: it has host, port, export and open"
                ),
            }
        }
        Ok(Some(wanted))
    }
}

/// A server for one run.
pub(super) struct Dashboard {
    wanted: Wanted,
    url: Url,
    data_dir: PathBuf,
    stop: shutdown::Signal,
    serving: JoinHandle<Result<server::Ended, server::Error>>,
}

impl Dashboard {
    /// Serves from here on. Says its address on stderr.
    ///
    /// # Errors
    /// The address is taken, or not one of this machine.
    pub(super) async fn start(wanted: Wanted, run_id: &str) -> anyhow::Result<Dashboard> {
        let host = wanted.host.clone();
        let bind = match (wanted.port, host.as_str()) {
            (None, _) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            (Some(_), "localhost" | "") => Vec::new(),
            (Some(_), host) => {
                let named = host.parse().with_context(|| {
                    format!(
                        "the web dashboard's host must be localhost or an IP address, not {host:?}"
                    )
                })?;
                vec![named]
            }
        };
        let data_dir = std::env::temp_dir().join(format!("dchat-dashboard-{run_id}"));
        let config = ServerConfig {
            data_dir: data_dir.clone(),
            open: bind.iter().any(|address| !address.is_loopback()),
            bind,
            port: wanted.port.unwrap_or(0),
            limits: Limits::default(),
        };
        let server = Server::bind(config).context("the web dashboard can't be served")?;
        let address = server
            .local_addrs()
            .first()
            .context("a server has an address")?;
        let url = Url::parse(&format!("http://{address}/"))?;
        let stop = shutdown::Signal::new();
        let serving = tokio::spawn(server.run(stop.clone()));
        if wanted.port.is_some() {
            let page = format!("{url}?run={run_id}");
            tracing::info!("web dashboard: {page}");
            if wanted.open {
                open_browser(&page);
            }
        }
        let dashboard = Dashboard {
            wanted,
            url,
            data_dir,
            stop,
            serving,
        };
        dashboard.ready().await?;
        Ok(dashboard)
    }

    /// Where the run reports to.
    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    /// Writes the report if one is wanted, and ends the server.
    ///
    /// # Errors
    /// The report can't be had or written.
    pub(super) async fn finish(self, run_id: &str) -> anyhow::Result<()> {
        let exported = match self.wanted.export.clone() {
            Some(file) => self.export(run_id, &file).await,
            None => Ok(()),
        };
        self.stop.trigger();
        if let Ok(Err(error)) = self.serving.await {
            tracing::warn!("the web dashboard did not end in order: {error}");
        }
        // It holds nothing but this run.
        if let Err(error) = std::fs::remove_dir_all(&self.data_dir) {
            tracing::debug!("{} can't be removed: {error}", self.data_dir.display());
        }
        exported
    }

    async fn export(&self, run_id: &str, file: &std::path::Path) -> anyhow::Result<()> {
        let report = self
            .url
            .join(&format!("/api/v1/runs/{run_id}/report.html"))?;
        let answer = Client::new()
            .request(hyper::Method::GET, &report, None, REPORT_WITHIN)
            .await
            .context("the report can't be had")?;
        if !answer.status.is_success() {
            bail!("the report can't be had: status {}", answer.status);
        }
        std::fs::write(file, &answer.body)
            .with_context(|| format!("the report {} can't be written", file.display()))
    }

    /// Storage opens beside the listener.
    async fn ready(&self) -> anyhow::Result<()> {
        let ready = self.url.join("/ready")?;
        let client = Client::new();
        for _ in 0..200 {
            let answer = client
                .request(hyper::Method::GET, &ready, None, Duration::from_secs(5))
                .await;
            if answer.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the web dashboard was not ready within 4 s")
    }
}

/// The desktop's own way; a machine without one goes on without.
fn open_browser(page: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    if let Err(error) = std::process::Command::new(program)
        .arg(page)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
    {
        tracing::warn!("no browser could be opened ({program}: {error}); the page is {page}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        variables: &[(&str, &str)],
        out: Option<Option<&str>>,
    ) -> anyhow::Result<Option<Wanted>> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Wanted::read(&variables, out)
    }

    #[test]
    fn settings_are_k6_s_and_the_flag_wins() {
        assert_eq!(
            read(&[("K6_WEB_DASHBOARD_PORT", "1")], None).expect("valid"),
            None
        );
        let plain = read(&[("K6_WEB_DASHBOARD", "true")], None)
            .expect("valid")
            .expect("wanted");
        assert_eq!((plain.host.as_str(), plain.port), ("localhost", Some(5665)));
        let both = [("K6_WEB_DASHBOARD", "true"), ("K6_WEB_DASHBOARD_PORT", "1")];
        let flag = Some(Some("port=-1&export=r.html&open"));
        let given = read(&both, flag).expect("valid").expect("wanted");
        assert_eq!(given.port, None);
        assert_eq!(given.export, Some("r.html".into()));
        assert!(given.open);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        for (out, part) in [
            ("port=x", "port"),
            ("record=f", "recording"),
            ("colour=red", "colour"),
        ] {
            let error = read(&[], Some(Some(out))).expect_err(out);
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
