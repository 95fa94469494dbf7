use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;

const LIMITED: Body = Body::Keep { bytes_max: 8 };

async fn read(wire: &str) -> Result<(u16, Vec<u8>), ReadError> {
    let mut stream = wire.as_bytes();
    let mut buffer = BytesMut::new();
    let head = read_head(&mut stream, &mut buffer).await?;
    let framing = framing(&head, "GET")?;
    let body = read_body(&mut stream, &mut buffer, &framing, LIMITED).await?;
    Ok((head.status, body))
}

#[tokio::test]
async fn bodies_are_read_by_length_chunks_and_end() {
    let (status, body) = read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcX")
        .await
        .expect("an answer");
    assert_eq!((status, body.as_slice()), (200, &b"abc"[..]));
    let chunked = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\
         Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n";
    let (status, body) = read(chunked).await.expect("an answer");
    assert_eq!((status, body.as_slice()), (201, &b"abcd"[..]));
    let (_, body) = read("HTTP/1.0 200 OK\r\n\r\nrest")
        .await
        .expect("an answer");
    assert_eq!(body, b"rest");
}

#[tokio::test]
async fn broken_answers_are_errors() {
    for wire in [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcdefghi",
        "HTTP/1.0 200 OK\r\n\r\nabcdefghi",
    ] {
        assert!(read(wire).await.is_err(), "{wire:?}");
    }
}

/// Gives its bytes in pieces of these sizes, again and again.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    turn: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let size = this.sizes[this.turn % this.sizes.len()];
        this.turn += 1;
        let end = (this.at + size.min(buffer.remaining())).min(this.bytes.len());
        buffer.put_slice(&this.bytes[this.at..end]);
        this.at = end;
        Poll::Ready(Ok(()))
    }
}

/// Status, body and what is left over, however the bytes come.
fn read_pieces(bytes: &[u8], sizes: &[usize]) -> Result<(u16, Vec<u8>, Vec<u8>), String> {
    let mut stream = Pieces {
        bytes: bytes.to_vec(),
        at: 0,
        sizes: sizes.to_vec(),
        turn: 0,
    };
    let reading = async {
        let mut buffer = BytesMut::new();
        let head = read_head(&mut stream, &mut buffer).await?;
        let framing = framing(&head, "GET")?;
        let body = read_body(&mut stream, &mut buffer, &framing, LIMITED).await?;
        Ok((head.status, body, buffer.to_vec()))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let read: Result<_, ReadError> = runtime.expect("a runtime").block_on(reading);
    read.map_err(|error| error.into_failure().text)
}

/// Parts that responses are made of, and parts that no response should be made of.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 204 None\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/9.9 99999 ?\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: \u{fc}\r\n",
        " folded\r\n",
        ": nameless\r\n",
        "\r\n",
        "\n",
        "3\r\nabc\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\r\n",
        "0;x=y\r\nTrailer: t\r\n\r\n",
        "abc",
        "\0",
    ]);
    let part = prop_oneof![
        8 => parts.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_an_answer_or_an_error_and_the_same_however_they_come(
        wire in wire(),
        sizes in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let whole = read_pieces(&wire, &[usize::MAX]);
        let pieces = read_pieces(&wire, &sizes);
        if let Ok((_, body, _)) = &whole {
            prop_assert!(body.len() <= 8);
        }
        let seen = |read: &Result<(u16, Vec<u8>, Vec<u8>), String>| match read {
            Ok((status, body, _)) => Ok((*status, body.clone())),
            // How much of a bad line had come is seen in the text.
            Err(_) => Err(()),
        };
        prop_assert_eq!(seen(&whole), seen(&pieces));
    }
}
