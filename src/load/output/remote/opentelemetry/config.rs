//! Settings of the `opentelemetry` output: `K6_OTEL_*` over the SDKs' `OTEL_*`.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use tokio_rustls::rustls::ClientConfig;
use url::Url;

use super::super::post::{Protocol, add_header};
use super::super::tls;
use crate::load::output::Error;
use crate::load::output::settings::{Settings, pairs};

/// Method of the collector's metrics service.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) url: Url,
    pub(super) protocol: Protocol,
    pub(super) headers: HeaderMap,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) period: Duration,
    /// In front of every metric's name.
    pub(super) prefix: String,
    pub(super) single_counter_for_rate: bool,
    pub(super) resource: Vec<(String, String)>,
    /// What the run's header says of it.
    pub(super) description: String,
}

/// # Errors
/// Everything that can't be read.
pub(super) fn read(
    name: &str,
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Config, Error> {
    let mut settings = settings.of(name);
    if argument.is_some_and(|text| !text.is_empty()) {
        settings.problem("takes no argument\nhint: set K6_OTEL_* variables".to_owned());
    }
    let protocol = protocol(&mut settings);
    let (url, shown) = address(protocol, &mut settings);
    let tls = tls_of(&url, &mut settings);
    // Metrics are taken in at once, so the flush interval only has to be a duration.
    settings.duration("K6_OTEL_FLUSH_INTERVAL", Duration::from_secs(1));
    let config = Config {
        protocol,
        headers: headers(&mut settings),
        tls,
        period: settings.duration("K6_OTEL_EXPORT_INTERVAL", Duration::from_secs(10)),
        prefix: settings.text("K6_OTEL_METRIC_PREFIX").unwrap_or_default(),
        single_counter_for_rate: settings.flag("K6_OTEL_SINGLE_COUNTER_FOR_RATE", true),
        resource: resource(&mut settings),
        description: shown,
        url,
    };
    settings.finish()?;
    Ok(config)
}

fn protocol(settings: &mut Settings) -> Protocol {
    for name in [
        "K6_OTEL_EXPORTER_PROTOCOL",
        "K6_OTEL_EXPORTER_TYPE",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ] {
        if settings.text(name).is_some() {
            let wanted = "grpc or http/protobuf";
            return settings.parsed(name, Protocol::Grpc, wanted, |text| match text {
                "grpc" => Some(Protocol::Grpc),
                "http" | "http/protobuf" => Some(Protocol::Http),
                _ => None,
            });
        }
    }
    Protocol::Grpc
}

/// The address to send to, and how the run's header shows it.
fn address(protocol: Protocol, settings: &mut Settings) -> (Url, String) {
    let (kind, port) = match protocol {
        Protocol::Grpc => ("GRPC", 4317),
        Protocol::Http => ("HTTP", 4318),
    };
    let own = settings.text(&format!("K6_OTEL_{kind}_EXPORTER_ENDPOINT"));
    let insecure = settings.flag(&format!("K6_OTEL_{kind}_EXPORTER_INSECURE"), false);
    let path = match protocol {
        Protocol::Grpc => GRPC_PATH.to_owned(),
        Protocol::Http => {
            let path = settings.text("K6_OTEL_HTTP_EXPORTER_URL_PATH");
            path.unwrap_or_else(|| "/v1/metrics".to_owned())
        }
    };
    let scheme = if insecure { "http" } else { "https" };
    let sdk = settings
        .text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
        .or_else(|| settings.text("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let host = own.clone().unwrap_or_else(|| format!("localhost:{port}"));
    let text = match (own, sdk) {
        // The SDKs' variable is a whole address with a scheme.
        (None, Some(sdk)) => format!("{}{path}", sdk.trim_end_matches('/')),
        (Some(own), _) if own.contains("://") => format!("{}{path}", own.trim_end_matches('/')),
        _ => format!("{scheme}://{host}{path}"),
    };
    let parsed = Url::parse(&text).ok().filter(|url| url.has_host());
    let url = parsed.unwrap_or_else(|| {
        settings.problem(format!("'{text}' is no address: write host:port"));
        Url::parse("http://localhost").expect("a constant")
    });
    let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
    let kind = kind.to_lowercase();
    let shown = match (protocol, url.scheme()) {
        (Protocol::Grpc, "http") => format!("{kind} (insecure), {authority}"),
        (Protocol::Grpc, _) => format!("{kind}, {authority}"),
        (Protocol::Http, scheme) => format!("{kind}, {scheme}://{authority}{path}"),
    };
    (url, shown)
}

fn tls_of(url: &Url, settings: &mut Settings) -> Option<Arc<ClientConfig>> {
    if url.scheme() != "https" {
        return None;
    }
    let wanted = tls::Wanted {
        insecure: settings.flag("K6_OTEL_TLS_INSECURE_SKIP_VERIFY", false),
        authority: settings.text("K6_OTEL_TLS_CERTIFICATE"),
        certificate: settings.text("K6_OTEL_TLS_CLIENT_CERTIFICATE"),
        key: settings.text("K6_OTEL_TLS_CLIENT_KEY"),
        only_tls13: false,
    };
    match tls::config(&wanted) {
        Ok(config) => Some(config),
        Err(problem) => {
            settings.problem(problem);
            None
        }
    }
}

fn headers(settings: &mut Settings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let wanted = "key1=value1,key2=value2";
    for variable in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "K6_OTEL_HEADERS",
    ] {
        let given = settings.parsed(variable, Vec::new(), wanted, |text| pairs(text, '='));
        for (name, value) in given {
            let value = percent_encoding::percent_decode_str(&value).decode_utf8_lossy();
            if add_header(&mut headers, &name, &value).is_none() {
                settings.problem(format!(
                    "{variable}: '{name}' is no header that HTTP allows"
                ));
            }
        }
    }
    headers
}

fn resource(settings: &mut Settings) -> Vec<(String, String)> {
    let wanted = "key1=value1,key2=value2";
    let given = settings.parsed("OTEL_RESOURCE_ATTRIBUTES", Vec::new(), wanted, |text| {
        pairs(text, '=')
    });
    let mut resource = vec![
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.name".to_owned(), "dchat".to_owned()),
        (
            "telemetry.sdk.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
    ];
    let text = |name: &str| settings.text(name);
    let service = text("K6_OTEL_SERVICE_NAME").or_else(|| text("OTEL_SERVICE_NAME"));
    let version = text("K6_OTEL_SERVICE_VERSION");
    let own = [
        ("service.name", service.unwrap_or_else(|| "k6".to_owned())),
        (
            "service.version",
            version.unwrap_or_else(|| format!("v{}", env!("CARGO_PKG_VERSION"))),
        ),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in given.into_iter().chain(own) {
        resource.retain(|(known, _)| *known != name);
        resource.push((name, value));
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Config, Error> {
        let own = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        read("opentelemetry", None, &Settings::new(own))
    }

    #[test]
    fn grpc_over_tls_is_the_default() {
        let config = of(&[]).expect("defaults are valid");
        assert_eq!(config.protocol, Protocol::Grpc);
        assert_eq!(
            config.url[..url::Position::AfterPort],
            *"https://localhost:4317"
        );
        assert!(config.tls.is_some());
    }

    #[test]
    fn own_variables_win_over_those_of_the_sdks() {
        let config = of(&[
            ("K6_OTEL_EXPORTER_PROTOCOL", "http/protobuf"),
            ("K6_OTEL_HTTP_EXPORTER_INSECURE", "true"),
            ("K6_OTEL_HTTP_EXPORTER_ENDPOINT", "h:1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://other:2"),
            ("OTEL_SERVICE_NAME", "sdk"),
            ("K6_OTEL_HEADERS", "a=b%20c"),
        ]);
        let config = config.expect("all is valid");
        assert_eq!(config.url.as_str(), "http://h:1/v1/metrics");
        assert_eq!(config.headers["a"], "b c");
        assert!(
            config
                .resource
                .contains(&("service.name".to_owned(), "sdk".to_owned()))
        );
        let refused = of(&[("K6_OTEL_EXPORTER_TYPE", "carrier")]).expect_err("no such protocol");
        assert!(refused.to_string().contains("K6_OTEL_EXPORTER_TYPE"));
    }
}
