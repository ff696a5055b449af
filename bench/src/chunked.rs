//! Bodies in chunks: taking one apart, and putting one together.

use std::hint::black_box;

use tidegate::http::body::{BodyDecoder, BodyEncoder};
use tidegate::http::message::Framing;

use crate::{Case, Work};

/// How many chunks a body has.
const CHUNKS: usize = 16;

/// The sizes of chunks, in bytes.
const SIZES: [usize; 3] = [16, 1024, 16 * 1024];

pub(crate) fn cases() -> Vec<Case> {
    let decode = |size| Case::new(format!("chunked/decode/{CHUNKS}x{size}"), 100, move || decode(size));
    let encode = |size| Case::new(format!("chunked/encode/{CHUNKS}x{size}"), 100, move || encode(size));
    SIZES.map(decode).into_iter().chain(SIZES.map(encode)).collect()
}

/// Puts a body together as the gateway sends it, but for the data, which goes out from where it is.
fn frame(size: usize, out: &mut Vec<u8>, mut data: impl FnMut(&mut Vec<u8>)) {
    let mut encoder = BodyEncoder::new(Framing::Chunked);
    for _ in 0..CHUNKS {
        let wrap = encoder.wrap(black_box(size)).expect("chunks have no announced length");
        out.extend_from_slice(wrap.before.as_bytes());
        data(out);
        out.extend_from_slice(wrap.after);
    }
    encoder.finish(BodyDecoder::default().trailers(), out).expect("chunks have no announced length");
}

fn decode(size: usize) -> Work {
    let (mut body, mut decoder) = (Vec::new(), BodyDecoder::default());
    frame(size, &mut body, |out| out.resize(out.len() + size, b'x'));
    Box::new(move |times| {
        for _ in 0..times {
            decoder.reset(Framing::Chunked);
            let mut at = 0;
            while !decoder.is_done() {
                at += decoder.decode(black_box(&body[at..])).expect("a well-formed body").consumed;
            }
            assert_eq!(black_box(at), body.len());
        }
    })
}

fn encode(size: usize) -> Work {
    let mut out = Vec::with_capacity(1024);
    Box::new(move |times| {
        for _ in 0..times {
            out.clear();
            frame(size, &mut out, |_| {});
            black_box(out.len());
        }
    })
}
