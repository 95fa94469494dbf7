//! Settings of the `experimental-prometheus-rw` output: `K6_PROMETHEUS_RW_*` variables.

use std::time::Duration;

use hyper::header::HeaderMap;
use url::Url;

use super::super::Pace;
use super::super::post::{Door, Protocol, add_header, basic};
use super::super::sigv4::Signer;
use super::super::tls;
use super::NAME;
use crate::load::options::parse_stat;
use crate::load::output::Error;
use crate::load::output::settings::{Settings, pairs};
use crate::load::threshold::Aggregation;

/// A figure of a trend, with what its series' name ends in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stat {
    pub(super) suffix: String,
    pub(super) figure: Figure,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Sum,
    Of(Aggregation),
}

/// How series are made from samples.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) stats: Vec<Stat>,
    pub(super) native: bool,
    pub(super) stale_markers: bool,
    pub(super) labels: Vec<(String, String)>,
}

/// Everything that the variables decide.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) door: Door,
    pub(super) pace: Pace,
    pub(super) description: String,
}

/// `argument` is what follows the name: the endpoint, over `K6_PROMETHEUS_RW_SERVER_URL`.
///
/// # Errors
/// A setting that can't be read.
pub(super) fn read(argument: Option<&str>, settings: &Settings) -> Result<Setup, Error> {
    let mut settings = settings.of(NAME);
    let variable = |name: &str| format!("K6_PROMETHEUS_RW_{name}");
    let default = "http://localhost:9090/api/v1/write";
    let address = settings.text(&variable("SERVER_URL"));
    let text = argument.filter(|text| !text.is_empty());
    let text = text.or(address.as_deref()).unwrap_or(default).to_owned();
    let url = Url::parse(&text)
        .ok()
        .filter(|url| url.has_host())
        .unwrap_or_else(|| {
            settings.problem(format!("'{text}' is no http or https address"));
            Url::parse(default).expect("a constant")
        });
    let config = Config {
        stats: settings.parsed(
            &variable("TREND_STATS"),
            stats("p(99)").expect("a constant"),
            "a list of count, sum, min, max, avg, med, p(N)",
            stats,
        ),
        native: settings.flag(&variable("TREND_AS_NATIVE_HISTOGRAM"), false),
        stale_markers: settings.flag(&variable("STALE_MARKERS"), false),
        labels: settings.parsed(&variable("LABELS"), Vec::new(), "a=1,b=2", |text| {
            pairs(text, '=')
        }),
    };
    let period = settings.duration(&variable("PUSH_INTERVAL"), Duration::from_secs(5));
    let headers = headers(&mut settings);
    let wanted = tls::Wanted {
        insecure: settings.flag(&variable("INSECURE_SKIP_TLS_VERIFY"), false),
        certificate: settings.text(&variable("CLIENT_CERTIFICATE")),
        key: settings.text(&variable("CLIENT_CERTIFICATE_KEY")),
        only_tls13: settings.parsed(
            &variable("TLS_MINIMUM_VERSION"),
            true,
            "1.2 or 1.3",
            |text| match text {
                "1.2" => Some(false),
                "1.3" => Some(true),
                _ => None,
            },
        ),
        authority: None,
    };
    let signer = signer(&mut settings);
    let tls = tls::config(&wanted).map_err(|problem| settings.problem(problem));
    settings.finish()?;
    let mut door = Door::new(
        url,
        headers,
        "application/x-protobuf",
        tls.ok(),
        Protocol::Http,
    );
    door.signer = signer;
    let pace = Pace {
        period,
        concurrency: 1,
    };
    let description = format!("Prometheus remote write ({text})");
    Ok(Setup {
        config,
        door,
        pace,
        description,
    })
}

fn headers(settings: &mut Settings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut given: Vec<(String, String)> = vec![
        ("content-encoding".to_owned(), "snappy".to_owned()),
        (
            "x-prometheus-remote-write-version".to_owned(),
            "0.1.0".to_owned(),
        ),
    ];
    let variable = |name: &str| format!("K6_PROMETHEUS_RW_{name}");
    given.extend(settings.parsed(
        &variable("HTTP_HEADERS"),
        Vec::new(),
        "key1:value1,key2:value2",
        |text| pairs(text, ':'),
    ));
    given.extend(settings.prefixed(&variable("HEADERS_")));
    let mut authorize = |value: String| given.push(("authorization".to_owned(), value));
    if let Some(user) = settings.text(&variable("USERNAME")) {
        let password = settings.text(&variable("PASSWORD")).unwrap_or_default();
        authorize(basic(&user, &password));
    }
    if let Some(token) = settings.text(&variable("BEARER_TOKEN")) {
        authorize(format!("Bearer {token}"));
    }
    for (name, value) in given {
        if add_header(&mut headers, &name, &value).is_none() {
            settings.problem(format!("header '{name}' is none that HTTP allows"));
        }
    }
    headers
}

/// Requests are signed where all three variables are there.
fn signer(settings: &mut Settings) -> Option<Signer> {
    let names = ["REGION", "ACCESS_KEY", "SECRET_KEY"];
    let names = names.map(|name| format!("K6_PROMETHEUS_RW_SIGV4_{name}"));
    match names.each_ref().map(|name| settings.text(name)) {
        [Some(region), Some(access_key), Some(secret_key)] => Some(Signer {
            region,
            access_key,
            secret_key,
            service: "aps",
        }),
        [None, None, None] => None,
        _ => {
            settings.problem(format!("{} belong together", names.join(", ")));
            None
        }
    }
}

fn stats(text: &str) -> Option<Vec<Stat>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let stats: Option<Vec<Stat>> = parts
        .map(|part| {
            if part == "sum" {
                let suffix = part.to_owned();
                let figure = Figure::Sum;
                return Some(Stat { suffix, figure });
            }
            let (name, figure) = parse_stat(part)?;
            // `p(99.9)` ends a name as `p999`.
            let suffix = name.replace(['(', ')', '.'], "");
            let figure = Figure::Of(figure);
            Some(Stat { suffix, figure })
        })
        .collect();
    stats.filter(|stats| !stats.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_name_their_series() {
        let suffixes: Vec<String> = stats("p(99),p(99.9),sum,avg")
            .expect("all are known")
            .into_iter()
            .map(|stat| stat.suffix)
            .collect();
        assert_eq!(suffixes, ["p99", "p999", "sum", "avg"]);
        assert_eq!(stats("p(200)"), None);
        assert_eq!(stats(""), None);
    }
}
