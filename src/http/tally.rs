//! Counts answered requests by route, method and status class.
//!
//! Looking a label set up costs a lock and a hash of three texts, so every row of the table keeps
//! its metrics once it has used them; only what is off the table looks them up each time.

use std::sync::OnceLock;
use std::time::Instant;

use hyper::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::http::table::{ROUTES, Route};
use crate::metrics::{HttpLabels, Metrics, RouteLabels};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The metrics of all rows, found by [`crate::http::table::RouteId`].
pub(crate) struct Tally {
    rows: Vec<Row>,
}

#[derive(Default)]
struct Row {
    classes: [OnceLock<Counter>; CLASSES.len()],
    seconds: OnceLock<Histogram>,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        let rows = ROUTES.iter().map(|_| Row::default());
        Tally {
            rows: rows.collect(),
        }
    }

    /// `route` is `None` where the table had no row.
    pub(crate) fn count(
        &self,
        metrics: &Metrics,
        route: Option<&'static Route>,
        method: &Method,
        status: StatusCode,
        begun: Instant,
    ) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let template = route.map_or("none", |route| route.template);
        let method_name = name(method);
        let counter = || {
            let labels = HttpLabels {
                route: template,
                method: method_name,
                status: CLASSES[class],
            };
            metrics.http_requests.get_or_create_owned(&labels)
        };
        let histogram = || {
            let labels = RouteLabels {
                route: template,
                method: method_name,
            };
            metrics.http_request_seconds.get_or_create_owned(&labels)
        };
        let seconds = begun.elapsed().as_secs_f64();
        match route.filter(|route| route.method == *method) {
            Some(route) => {
                let row = &self.rows[route.id as usize];
                row.classes[class].get_or_init(counter).inc();
                row.seconds.get_or_init(histogram).observe(seconds);
            }
            None => {
                counter().inc();
                histogram().observe(seconds);
            }
        }
    }
}

/// A closed set: a label must not hold what a client makes up.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::table::{Lookup, lookup};

    #[test]
    fn kept_and_looked_up_metrics_are_the_same() {
        let (metrics, tally) = (Metrics::new(), Tally::new());
        let Lookup::Found(route, _) = lookup(&Method::GET, "/health") else {
            panic!("the table has /health")
        };
        let count = |method, route| {
            tally.count(&metrics, route, &method, StatusCode::OK, Instant::now());
        };
        count(Method::GET, Some(route));
        count(Method::GET, Some(route));
        count(Method::HEAD, Some(route));
        count(Method::PATCH, None);
        let text = metrics.encode_text();
        for line in [
            r#"dchat_http_requests_total{route="/health",method="GET",status="2xx"} 2"#,
            r#"dchat_http_requests_total{route="/health",method="HEAD",status="2xx"} 1"#,
            r#"dchat_http_requests_total{route="none",method="other",status="2xx"} 1"#,
            r#"dchat_http_request_seconds_count{route="/health",method="GET"} 2"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn every_row_has_its_place() {
        let tally = Tally::new();
        assert!(
            ROUTES
                .iter()
                .all(|route| (route.id as usize) < tally.rows.len())
        );
    }
}
