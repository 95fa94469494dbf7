//! permessage-deflate (RFC 7692) without context takeover on either side: every message is a
//! deflate stream of its own, so that an idle socket keeps no window.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What the client offers.
pub(super) const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What a sender cuts off the end of each message, and its receiver appends.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Room made at a time.
const STEP_BYTES: usize = 4 * 1024;

pub(super) fn compress(message: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::fast(), false);
    let mut packed = Vec::with_capacity(message.len() / 2 + 64);
    loop {
        let taken = state.total_in() as usize;
        let before = packed.len();
        packed.reserve(STEP_BYTES);
        let status = state.compress_vec(&message[taken..], &mut packed, FlushCompress::Sync);
        let done = state.total_in() as usize == message.len();
        // With room left over, the flush is complete.
        if status.is_err() || (done && (packed.capacity() > packed.len() || packed.len() == before))
        {
            break;
        }
    }
    if packed.ends_with(&TAIL) {
        packed.truncate(packed.len() - TAIL.len());
    }
    packed
}

/// `None`: not deflate, or more than `bytes_max` when unpacked.
pub(super) fn decompress(mut packed: Vec<u8>, bytes_max: usize) -> Option<Vec<u8>> {
    packed.extend_from_slice(&TAIL);
    let mut state = Decompress::new(false);
    let mut message = Vec::with_capacity(packed.len() * 3);
    loop {
        let taken = state.total_in() as usize;
        let before = message.len();
        message.reserve(STEP_BYTES);
        let status = state.decompress_vec(&packed[taken..], &mut message, FlushDecompress::Sync);
        if message.len() > bytes_max {
            return None;
        }
        let stuck = message.len() == before && state.total_in() as usize == taken;
        match status.ok()? {
            Status::StreamEnd => return Some(message),
            _ if state.total_in() as usize == packed.len()
                && message.len() < message.capacity() =>
            {
                return Some(message);
            }
            _ if stuck => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_bombs_are_refused() {
        for size in [0, 1, 100, 70_000, 1_000_000] {
            let message: Vec<u8> = (0..size).map(|n: usize| (n * n % 251) as u8).collect();
            let packed = compress(&message);
            assert_eq!(decompress(packed, 1 << 20).as_deref(), Some(&message[..]));
        }
        let bomb = compress(&vec![0; 2 << 20]);
        assert_eq!(decompress(bomb, 1 << 20), None);
        assert_eq!(decompress(vec![0xff; 30], 1 << 20), None);
    }

    /// The example of RFC 7692, section 7.2.3.1.
    #[test]
    fn the_example_of_the_rfc_is_read() {
        let packed = vec![0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(decompress(packed, 100).as_deref(), Some(&b"Hello"[..]));
    }
}
