//! The accept loop and the life of one connection under its clocks.
//!
//! warp serves the requests; connections are ours, because their clocks, their limit and their end
//! in a drain are part of the contract. One task per listener, one per connection; all of them are
//! tracked, and the drain waits for them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::http::app::App;
use crate::http::filters;
use crate::http::io::{Clocks, Io};
use crate::http::service::{Routes, Service};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection above the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// Accepts on every listener until the stop signal; connections go on in tasks of their own.
pub(crate) fn serve(app: &App, listeners: Vec<TcpListener>) {
    let routes = Routes::new(filters::all(app.clone()));
    for listener in listeners {
        let (app, routes) = (app.clone(), routes.clone());
        app.tasks.clone().spawn(async move {
            let stop = app.stop.clone();
            tokio::select! {
                () = stop.triggered() => {}
                () = accept_all(&app, &routes, &listener) => {}
            }
        });
    }
}

async fn accept_all(app: &App, routes: &Routes, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => accept(app, routes, stream, peer),
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The peer gave up before we took it.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn accept(app: &App, routes: &Routes, mut stream: TcpStream, peer: SocketAddr) {
    let open = usize::try_from(app.metrics.connections.inc()).unwrap_or(0);
    let place = Place(Arc::new(Counted(app.clone())));
    if open >= app.limits.connections_max {
        app.metrics.connections_refused.inc();
        app.tasks.spawn(async move {
            // A peer that does not read its refusal is left.
            let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(FULL)).await;
            drop(place);
        });
        return;
    }
    // Without it small answers wait for the peer's acknowledgement; its failure is no harm.
    let _ = stream.set_nodelay(true);
    let (app, routes) = (app.clone(), routes.clone());
    app.tasks.clone().spawn(async move {
        connection(&app, routes, stream, peer, place).await;
    });
}

/// One open connection, counted until the last clone is dropped: an upgraded one outlives its task.
#[derive(Clone)]
pub(super) struct Place(#[expect(dead_code, reason = "held for its drop")] Arc<Counted>);

struct Counted(App);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

async fn connection(app: &App, routes: Routes, stream: TcpStream, peer: SocketAddr, place: Place) {
    let clocks = Arc::new(Clocks::new());
    let io = TokioIo::new(Io::new(stream, clocks.clone()));
    let service = Service {
        app: app.clone(),
        routes,
        clocks: clocks.clone(),
        place,
    };
    let mut connection = pin!(
        http1::Builder::new()
            // Heads up to here get their 431 as JSON, larger ones hyper's bare one.
            .max_buf_size((4 * app.limits.head_bytes_max).max(64 * 1024))
            .serve_connection(io, service)
            .with_upgrades()
    );
    let mut stopping = pin!(app.stop.triggered());
    let mut stopped = false;
    let mut alarm = pin!(tokio::time::sleep(app.limits.idle_timeout));
    let served = std::future::poll_fn(|context| {
        if !stopped && stopping.as_mut().poll(context).is_ready() {
            stopped = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(served) = connection.as_mut().poll(context) {
            return Poll::Ready(Some(served));
        }
        let deadline = || clocks.deadline(&app.limits, stopped).map(Instant::from_std);
        ring(deadline, app.limits.idle_timeout, alarm.as_mut(), context).map(|()| None)
    });
    match served.await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%peer, %error, "a connection broke"),
        None => {
            app.metrics.connections_timed_out.inc();
            tracing::debug!(%peer, "a connection was closed by its clock");
        }
    }
}

/// Ready when a clock has run out. The alarm is set anew only when it has to ring earlier, or rang
/// for a deadline that has moved: a busy connection costs no timer.
fn ring(
    deadline: impl Fn() -> Option<Instant>,
    idle_timeout: Duration,
    mut alarm: Pin<&mut tokio::time::Sleep>,
    context: &mut std::task::Context<'_>,
) -> Poll<()> {
    loop {
        let Some(deadline) = deadline() else {
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            alarm.as_mut().reset(Instant::now() + idle_timeout);
            continue;
        };
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        if deadline < alarm.deadline() || alarm.is_elapsed() {
            alarm.as_mut().reset(deadline);
        }
        if alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::limits::Limits;
    use crate::metrics::Metrics;
    use crate::shutdown;

    /// A server whose storage never opens.
    async fn starting() -> (App, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let app = App::new(
            Arc::new(Limits::default()),
            Arc::new(Metrics::new()),
            shutdown::Signal::new(),
            false,
            vec![address],
        );
        serve(&app, vec![listener]);
        (app, address)
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("it answers and closes");
        answer
    }

    #[tokio::test]
    async fn until_storage_is_open_every_route_but_health_is_starting() {
        let (_app, address) = starting().await;
        let health = get(address, "/health").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        assert!(health.contains(r#""status":"starting""#), "{health}");
        for path in [
            "/ready",
            "/",
            "/metrics",
            "/api/v1/status",
            "/api/v1/messages?user=a",
        ] {
            let answer = get(address, path).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
            assert!(
                answer.contains("STARTING") && answer.contains("retry-after"),
                "{answer}"
            );
        }
        let unknown = get(address, "/nothing").await;
        assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    }

    #[tokio::test]
    async fn stopped_listener_and_connections_are_all_accounted_for() {
        let (app, address) = starting().await;
        get(address, "/health").await;
        app.stop.trigger();
        app.tasks.close();
        tokio::time::timeout(Duration::from_secs(5), app.tasks.wait())
            .await
            .expect("every task ends");
        assert_eq!(app.metrics.connections.get(), 0);
    }
}
