//! Outputs that push: what a database, a Prometheus and a collector get to see.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use prost::Message as _;

use crate::support::*;

const SCRIPT: &str = r#"
import { check } from 'k6';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
export const options = { iterations: 4, tags: { team: 'red one' } };
const hits = new Counter('hits'), level = new Gauge('level');
const good = new Rate('good'), wait = new Trend('wait', true);
export default function () {
    hits.add(2, { url: 'http://a/b' });
    level.add(7);
    good.add(__ITER < 3);
    wait.add((__ITER + 1) * 100);
    check(1, { 'is one': (n) => n === 1 });
}"#;

/// One request that a receiver got.
#[derive(Clone, Debug)]
struct Got {
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A server that notes every request and answers them all with one status.
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    fn start(status: u16) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let noted = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let noted = noted.clone();
                std::thread::spawn(move || serve(stream.unwrap(), status, &noted));
            }
        });
        Receiver { address, got }
    }

    /// Requests to a path.
    fn at(&self, path: &str) -> Vec<Got> {
        let got = self.got.lock().unwrap();
        let of_path = |got: &&Got| got.target.split('?').next() == Some(path);
        got.iter().filter(of_path).cloned().collect()
    }
}

fn serve(stream: TcpStream, status: u16, got: &Mutex<Vec<Got>>) {
    let mut answers = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        got.lock().unwrap().push(Got {
            target,
            headers,
            body,
        });
        let reply = format!("HTTP/1.1 {status} Fine\r\ncontent-length: 3\r\n\r\nno!");
        if answers.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn influxdb_gets_a_database_and_the_line_protocol() {
    let database = Receiver::start(200);
    let out = format!("influxdb=http://me:secret@{}/proxy/tests", database.address);
    Script::new(SCRIPT).args(["--out", &out]).run().expect(0);
    let created = database.at("/proxy/query");
    assert!(
        created[0].target.contains("CREATE+DATABASE+tests"),
        "{created:?}"
    );
    let writes = database.at("/proxy/write");
    assert!(writes[0].target.contains("db=tests") && writes[0].target.contains("precision=ns"));
    assert_eq!(writes[0].headers["authorization"], "Basic bWU6c2VjcmV0");
    let text: String = writes
        .iter()
        .map(|got| String::from_utf8_lossy(&got.body).into_owned())
        .collect();
    let hits: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("hits,"))
        .collect();
    assert_eq!(hits.len(), 4, "{text}");
    let (series, rest) = hits[0].split_once(" value=").unwrap();
    assert_eq!(series, "hits,scenario=default,team=red\\ one");
    let (fields, time) = rest.split_once(' ').unwrap();
    assert_eq!(fields, "2,url=\"http://a/b\"");
    assert_eq!(time.len(), 19, "nanoseconds: {time}");
    assert!(text.contains("checks,check=is\\ one,"), "{text}");
}

#[test]
fn receiver_that_refuses_leaves_the_run_alone_and_is_told() {
    let database = Receiver::start(503);
    let out = format!("influxdb=http://{}/tests", database.address);
    let ran = Script::new(SCRIPT).args(["--out", &out]).run().expect(0);
    assert_eq!(ran.metric("hits")["count"], 8);
    ran.says(&["influxdb", "503", "not complete", "lost="]);
}

#[test]
fn unreachable_receiver_leaves_the_run_alone_and_is_told() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    Script::new(SCRIPT)
        .args(["--out", "experimental-prometheus-rw"])
        .env(
            "K6_PROMETHEUS_RW_SERVER_URL",
            &format!("http://{free}/write"),
        )
        .run()
        .expect(0)
        .says(&[
            "experimental-prometheus-rw",
            "cannot connect",
            "not complete",
        ]);
}

#[test]
fn wrong_settings_stop_the_run_before_it_begins() {
    let ran = Script::new(SCRIPT)
        .args(["--out", "experimental-prometheus-rw"])
        .env("K6_PROMETHEUS_RW_PUSH_INTERVAL", "soon")
        .env("K6_PROMETHEUS_RW_TREND_STATS", "p(101)")
        .run()
        .expect(255)
        .says(&[
            "K6_PROMETHEUS_RW_PUSH_INTERVAL",
            "K6_PROMETHEUS_RW_TREND_STATS",
        ]);
    assert!(!ran.path("summary.json").exists());
}

/// Prometheus remote write 1.0 as its `.proto` numbers it.
mod prompb {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        #[prost(message, repeated, tag = "4")]
        pub histograms: Vec<Histogram>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Label {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Histogram {
        #[prost(uint64, optional, tag = "1")]
        pub count: Option<u64>,
        #[prost(double, tag = "3")]
        pub sum: f64,
        #[prost(sint32, tag = "4")]
        pub schema: i32,
        #[prost(sint64, repeated, tag = "12")]
        pub positive_deltas: Vec<i64>,
    }
}

fn series_of(got: &[Got]) -> Vec<prompb::TimeSeries> {
    let requests = got.iter().map(|got| {
        assert_eq!(got.headers["content-encoding"], "snappy");
        assert_eq!(got.headers["x-prometheus-remote-write-version"], "0.1.0");
        let bytes = snap::raw::Decoder::new().decompress_vec(&got.body).unwrap();
        prompb::WriteRequest::decode(&bytes[..]).unwrap().timeseries
    });
    requests.flatten().collect()
}

fn named<'s>(series: &'s [prompb::TimeSeries], name: &str) -> &'s prompb::TimeSeries {
    let found = series.iter().rfind(|series| {
        let name_of = series.labels.iter().find(|label| label.name == "__name__");
        name_of.is_some_and(|label| label.value == name)
    });
    found.unwrap_or_else(|| panic!("{name} in {series:#?}"))
}

#[test]
fn prometheus_gets_one_series_for_each_figure() {
    let prometheus = Receiver::start(204);
    Script::new(SCRIPT)
        .args(["--out", "experimental-prometheus-rw"])
        .env(
            "K6_PROMETHEUS_RW_SERVER_URL",
            &format!("http://{}/write", prometheus.address),
        )
        .env("K6_PROMETHEUS_RW_TREND_STATS", "max,avg,p(50)")
        .env("K6_PROMETHEUS_RW_LABELS", "zone=a")
        .env("K6_PROMETHEUS_RW_BEARER_TOKEN", "secret")
        .run()
        .expect(0);
    let got = prometheus.at("/write");
    assert_eq!(got[0].headers["authorization"], "Bearer secret");
    let series = series_of(&got);
    let value = |name: &str| named(&series, name).samples[0].value;
    assert_eq!(value("k6_hits_total"), 8.0);
    assert_eq!(value("k6_level"), 7.0);
    assert_eq!(value("k6_good_rate"), 0.75);
    assert_eq!(value("k6_checks_rate"), 1.0);
    assert_eq!(value("k6_wait_max"), 0.4, "times are seconds");
    assert_eq!((value("k6_wait_avg"), value("k6_wait_p50")), (0.25, 0.25));
    let labels = &named(&series, "k6_hits_total").labels;
    let names: Vec<&str> = labels.iter().map(|label| label.name.as_str()).collect();
    assert_eq!(names, ["__name__", "scenario", "team", "url", "zone"]);
}

#[test]
fn prometheus_gets_native_histograms_and_stale_markers_on_demand() {
    let prometheus = Receiver::start(200);
    Script::new(SCRIPT)
        .args(["--out", "experimental-prometheus-rw"])
        .env(
            "K6_PROMETHEUS_RW_SERVER_URL",
            &format!("http://{}/write", prometheus.address),
        )
        .env("K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM", "true")
        .env("K6_PROMETHEUS_RW_STALE_MARKERS", "true")
        .run()
        .expect(0);
    let series = series_of(&prometheus.at("/write"));
    let histogram = series
        .iter()
        .find(|series| series.labels[0].value == "k6_wait_seconds" && series.samples.is_empty());
    let histogram = &histogram.expect("a histogram").histograms[0];
    assert_eq!((histogram.count, histogram.schema), (Some(4), 3));
    assert!((histogram.sum - 1.0).abs() < 1e-9);
    let ended = named(&series, "k6_hits_total").samples[0].value;
    assert_eq!(ended.to_bits(), 0x7ff0_0000_0000_0002);
}

#[test]
fn prometheus_of_aws_gets_signed_requests() {
    let prometheus = Receiver::start(200);
    Script::new(SCRIPT)
        .args(["--out", "experimental-prometheus-rw"])
        .env(
            "K6_PROMETHEUS_RW_SERVER_URL",
            &format!("http://{}/write", prometheus.address),
        )
        .env("K6_PROMETHEUS_RW_SIGV4_REGION", "eu-north-1")
        .env("K6_PROMETHEUS_RW_SIGV4_ACCESS_KEY", "AKID")
        .env("K6_PROMETHEUS_RW_SIGV4_SECRET_KEY", "secret")
        .run()
        .expect(0);
    let got = prometheus.at("/write");
    let header = &got[0].headers["authorization"];
    let date = &got[0].headers["x-amz-date"][..8];
    let scope = format!("Credential=AKID/{date}/eu-north-1/aps/aws4_request");
    assert!(
        header.starts_with("AWS4-HMAC-SHA256 ") && header.contains(&scope),
        "{header}"
    );
}

fn check_metrics(request: &ExportMetricsServiceRequest) {
    let of_resource = &request.resource_metrics[0];
    let resource = of_resource.resource.as_ref().unwrap();
    let service = resource
        .attributes
        .iter()
        .find(|pair| pair.key == "service.name");
    let service = service.unwrap().value.clone().unwrap().value;
    assert_eq!(service, Some(Any::StringValue("lab".to_owned())));
    let metrics = &of_resource.scope_metrics[0].metrics;
    let metric = |name: &str| -> &Metric {
        let found = metrics.iter().find(|metric| metric.name == name);
        found.unwrap_or_else(|| panic!("{name} in {metrics:#?}"))
    };
    let Some(Data::Sum(hits)) = &metric("k6_hits").data else {
        panic!("a counter is a sum");
    };
    assert!(hits.is_monotonic);
    let value = hits.data_points[0].value;
    assert_eq!(value, Some(number_data_point::Value::AsDouble(8.0)));
    let Some(Data::Sum(good)) = &metric("k6_good").data else {
        panic!("a rate is a sum");
    };
    let conditions: Vec<String> = good
        .data_points
        .iter()
        .map(|point| format!("{:?} {:?}", point.attributes.last(), point.value))
        .collect();
    assert_eq!(conditions.len(), 2, "{conditions:?}");
    assert!(conditions[0].contains("\"nonzero\"") && conditions[0].contains("AsInt(3)"));
    let wait = metric("k6_wait");
    assert_eq!(wait.unit, "ms");
    let Some(Data::Histogram(wait)) = &wait.data else {
        panic!("a trend is a histogram");
    };
    let point = &wait.data_points[0];
    assert_eq!(
        (point.count, point.sum, point.max),
        (4, Some(1_000.0), Some(400.0))
    );
    assert!(matches!(metric("k6_level").data, Some(Data::Gauge(_))));
}

#[test]
fn collector_gets_metrics_over_http() {
    let collector = Receiver::start(200);
    Script::new(SCRIPT)
        .args(["--out", "opentelemetry"])
        .env("K6_OTEL_EXPORTER_PROTOCOL", "http/protobuf")
        .env("K6_OTEL_HTTP_EXPORTER_INSECURE", "true")
        .env(
            "K6_OTEL_HTTP_EXPORTER_ENDPOINT",
            &collector.address.to_string(),
        )
        .env("K6_OTEL_METRIC_PREFIX", "k6_")
        .env("K6_OTEL_SERVICE_NAME", "lab")
        .env("K6_OTEL_HEADERS", "x-key=a%20b")
        .run()
        .expect(0);
    let got = collector.at("/v1/metrics");
    let last = got.last().expect("one export at least");
    assert_eq!(last.headers["content-type"], "application/x-protobuf");
    assert_eq!(last.headers["x-key"], "a b");
    check_metrics(&ExportMetricsServiceRequest::decode(&last.body[..]).unwrap());
}

#[test]
fn collector_gets_metrics_over_grpc() {
    let (address, got) = grpc_collector();
    Script::new(SCRIPT)
        .args(["--out", "opentelemetry"])
        .env("K6_OTEL_GRPC_EXPORTER_INSECURE", "true")
        .env("K6_OTEL_GRPC_EXPORTER_ENDPOINT", &address.to_string())
        .env("K6_OTEL_METRIC_PREFIX", "k6_")
        .env("K6_OTEL_SERVICE_NAME", "lab")
        .run()
        .expect(0);
    let got = got.lock().unwrap();
    let (path, body) = got.last().expect("one export at least");
    assert_eq!(
        path,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    );
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    assert_eq!((body[0], length), (0, body.len() - 5));
    check_metrics(&ExportMetricsServiceRequest::decode(&body[5..]).unwrap());
}

type Calls = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector that takes every call over HTTP/2.
fn grpc_collector() -> (SocketAddr, Calls) {
    let got = Calls::default();
    let noted = got.clone();
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(take_calls(stream, noted.clone()));
            }
        });
    });
    (address.recv().unwrap(), got)
}

async fn take_calls(stream: tokio::net::TcpStream, got: Calls) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let got = got.clone();
        tokio::spawn(async move {
            let path = request.uri().path().to_owned();
            let mut received = request.into_body();
            let mut body = Vec::new();
            while let Some(Ok(chunk)) = received.data().await {
                let _ = received.flow_control().release_capacity(chunk.len());
                body.extend_from_slice(&chunk);
            }
            got.lock().unwrap().push((path, body));
            let head = hyper::Response::builder().header("content-type", "application/grpc");
            let mut stream = answer.send_response(head.body(()).unwrap(), false).unwrap();
            let empty = bytes::Bytes::from_static(&[0, 0, 0, 0, 0]);
            stream.send_data(empty, false).unwrap();
            let status = hyper::http::HeaderValue::from_static("0");
            let name = hyper::http::HeaderName::from_static("grpc-status");
            stream
                .send_trailers([(name, status)].into_iter().collect())
                .unwrap();
        });
    }
}
