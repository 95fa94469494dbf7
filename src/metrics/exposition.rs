//! Exposition text. The registry writes OpenMetrics only; classic text is that text through one
//! filter, so the two can't disagree.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub(super) fn openmetrics(registry: &Registry) -> String {
    let mut out = String::with_capacity(16 * 1024);
    text::encode(&mut out, registry).expect("writing to a string cannot fail");
    out
}

/// OpenMetrics to Prometheus 0.0.4: no units, no end mark; HELP and TYPE carry the sample's own
/// name (`_total`, `_info`), and an info metric is a gauge.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take() {
                // prometheus-client ends every help text with a dot.
                let text = text.trim_end_matches('.');
                out.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
