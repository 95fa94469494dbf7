//! One unary gRPC call over HTTP/2, as far as an exporter needs it.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};
use url::{Position, Url};

use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot connect to {origin}: {source}")]
    Connect {
        origin: String,
        source: std::io::Error,
    },
    #[error("gRPC call to {origin} failed: {source}")]
    Exchange { origin: String, source: h2::Error },
    #[error("{origin} answered gRPC status {status}: {message}")]
    Status {
        origin: String,
        status: String,
        message: String,
    },
    #[error("'{0}' is no address of a gRPC service")]
    Address(String),
}

/// Sends `message` to the method that the URL's path names; `https` is TLS, `http` is plain.
///
/// # Errors
/// No connection, a broken exchange, any status but 0.
pub(super) async fn call(
    url: &Url,
    headers: &HeaderMap,
    tls: Option<&Arc<ClientConfig>>,
    message: Bytes,
) -> Result<(), Error> {
    let origin = url[Position::BeforeScheme..Position::AfterPort].to_owned();
    let refused = |source| Error::Connect {
        origin: origin.clone(),
        source,
    };
    let host = url
        .host_str()
        .ok_or_else(|| Error::Address(url.to_string()))?;
    let port = url.port_or_known_default().unwrap_or(4317);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(refused)?;
    // Failing to set this costs speed only.
    let _ = stream.set_nodelay(true);
    match tls {
        Some(config) => {
            let mut config = (**config).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            let name = ServerName::try_from(bare.to_owned())
                .map_err(|_| Error::Address(url.to_string()))?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(refused)?;
            exchange(stream, url, headers, message, &origin).await
        }
        None => exchange(stream, url, headers, message, &origin).await,
    }
}

async fn exchange<S>(
    stream: S,
    url: &Url,
    headers: &HeaderMap,
    message: Bytes,
    origin: &str,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |source| Error::Exchange {
        origin: origin.to_owned(),
        source,
    };
    let (sender, connection) = client::handshake(stream).await.map_err(broken)?;
    // Ends by itself once the call is over; its errors reach the call.
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut sender = sender.ready().await.map_err(broken)?;
    let request = request(url, headers)?;
    let (answer, mut body) = sender.send_request(request, false).map_err(broken)?;
    send_all(&mut body, framed(&message))
        .await
        .map_err(broken)?;
    let answer = answer.await.map_err(broken)?;
    let mut status = answer.headers().clone();
    let mut received = answer.into_body();
    while let Some(chunk) = received.data().await {
        let chunk = chunk.map_err(broken)?;
        received
            .flow_control()
            .release_capacity(chunk.len())
            .map_err(broken)?;
    }
    if let Some(trailers) = received.trailers().await.map_err(broken)? {
        status.extend(trailers);
    }
    driver.abort();
    let text = |name| {
        status
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    match text("grpc-status") {
        "0" => Ok(()),
        other => Err(Error::Status {
            origin: origin.to_owned(),
            status: other.to_owned(),
            message: text("grpc-message").to_owned(),
        }),
    }
}

fn request(url: &Url, headers: &HeaderMap) -> Result<Request<()>, Error> {
    let uri = &url[..Position::AfterPath];
    let request = Request::builder().method(Method::POST).uri(uri).body(());
    let mut request = request.map_err(|_| Error::Address(url.to_string()))?;
    let own = request.headers_mut();
    own.extend(headers.clone());
    own.insert("content-type", HeaderValue::from_static("application/grpc"));
    own.insert("te", HeaderValue::from_static("trailers"));
    let agent = concat!("dchat/", env!("CARGO_PKG_VERSION"));
    own.insert("user-agent", HeaderValue::from_static(agent));
    Ok(request)
}

/// Sends as much as the peer's window allows, until everything is out.
async fn send_all(body: &mut h2::SendStream<Bytes>, mut rest: Bytes) -> Result<(), h2::Error> {
    while !rest.is_empty() {
        body.reserve_capacity(rest.len());
        let granted = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
        let Some(granted) = granted.transpose()? else {
            return Err(h2::Reason::CANCEL.into());
        };
        let chunk = rest.split_to(granted.min(rest.len()));
        body.send_data(chunk, rest.is_empty())?;
    }
    Ok(())
}

/// A message behind its five bytes: not compressed, its length.
fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}
