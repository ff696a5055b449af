//! What must hold of every input: the property tests and `tests/fuzz.rs` feed it, and it panics if one does not.
//!
//! - The real reading and the naive one agree, on what is taken and on what is refused.
//! - It makes no difference how the input was split.
//! - What is sent on is exactly one head with the fields, the framing and the body that were taken.

use crate::http::body::{BodyDecoder, BodyEncoder};
use crate::http::error::{BodyError, HeadError};
use crate::http::fields::{Field, FieldName, FieldValue};
use crate::http::h1::encode::{
    Dropped, RequestForward, ResponseForward, Target, encode_interim, encode_request, encode_response,
};
use crate::http::h1::parse::{HeadLimits, Progress, RequestHead, ResponseContext, ResponseHead};
use crate::http::message::{Framing, Method, Version};

use super::reference::{self, Body, Chunks, Head, Verdict};

/// Fields that are written anew, and so have no place of their own.
const OURS: &[&str] = &["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "x-added"];

/// The ends of the prefixes of an input that are fed: all of a short one, and of a long one those around its ends
/// and some between.
fn splits(length: usize) -> impl Iterator<Item = usize> {
    let stride = 1 + length / 512;
    (0..=length).filter(move |end| end % stride == 0 || *end + 8 > length)
}

fn body(framing: Framing) -> Body {
    match framing {
        Framing::None => Body::None,
        Framing::Length(length) => Body::Length(length),
        Framing::Chunked => Body::Chunked,
        Framing::UntilClose => Body::UntilClose,
    }
}

fn owned(field: Field<'_>) -> (Vec<u8>, Vec<u8>, bool) {
    (field.name.to_vec(), field.value.to_vec(), field.hop_by_hop)
}

/// The end-to-end fields that are not written anew.
fn end_to_end(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    let ours = |name: &[u8]| OURS.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    let fields = head.fields.iter().filter(|(name, _, hop)| !hop && !ours(name));
    fields.map(|(name, value, _)| (name.clone(), value.clone())).collect()
}

/// Whether the outcome is what the reference says. True if a head was taken.
fn agree(outcome: Result<Progress, HeadError>, verdict: &Verdict<Head>, input: &[u8]) -> bool {
    match (outcome, verdict) {
        (Ok(Progress::Complete { consumed }), Verdict::Taken(head)) if consumed == head.consumed => true,
        (Ok(Progress::Incomplete) | Err(_), Verdict::More) | (Err(_), Verdict::Refused) => false,
        _ => panic!("{outcome:?}, but the reference says {verdict:?}: {}", input.escape_ascii()),
    }
}

/// Feeds longer and longer prefixes to `parse`, and compares with the outcome of the whole.
fn trickle(
    input: &[u8],
    whole: Result<Progress, HeadError>,
    mut parse: impl FnMut(&[u8]) -> Result<Progress, HeadError>,
) {
    let mut outcome = Ok(Progress::Incomplete);
    for end in splits(input.len()) {
        outcome = parse(&input[..end]);
        if outcome != Ok(Progress::Incomplete) {
            break;
        }
    }
    assert_eq!(outcome, whole, "split against whole: {}", input.escape_ascii());
}

/// Checks a request head.
pub(crate) fn request(input: &[u8]) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let outcome = head.parse(input, &limits);
    let mut trickled = RequestHead::default();
    trickle(input, outcome, |prefix| trickled.parse(prefix, &limits));
    let verdict = reference::request(input);
    if !agree(outcome, &verdict, input) {
        return;
    }
    let Verdict::Taken(expected) = verdict else { return };
    let version: &[u8] = if head.version() == Version::Http11 { b"HTTP/1.1" } else { b"HTTP/1.0" };
    assert_eq!(expected.start, [head.method_text().into(), head.target().into(), version.to_vec()]);
    assert_eq!(expected.fields, head.fields().map(owned).collect::<Vec<_>>());
    assert_eq!((expected.body, expected.keep_alive), (body(head.framing()), head.keep_alive()));
    let place = (head.host().map(Into::into), head.path().into(), head.query().map(Into::into));
    assert_eq!(expected.place, place);
    assert_eq!(trickled.fields().map(owned).collect::<Vec<_>>(), expected.fields);
    forwarded_request(&head, &expected);
}

/// Checks that a request is sent on as one head that says the same.
fn forwarded_request(head: &RequestHead, expected: &Head) {
    let mut target = head.path().as_bytes().to_vec();
    if let Some(query) = head.query() {
        target.extend([b"?", query.as_bytes()].concat());
    }
    let forward = RequestForward {
        target: Target::new(&target).expect("what was parsed may be written"),
        framing: head.framing(),
        host: None,
        default_host: FieldValue::literal("default"),
        close: !head.keep_alive(),
        drop: Dropped::default(),
        append: &[(FieldName::literal("X-Added"), FieldValue::literal("1"))],
    };
    let mut out = Vec::new();
    encode_request(head, &forward, None, &mut out);
    let shown = out.escape_ascii();
    let Verdict::Taken(sent) = reference::request(&out) else { panic!("not a head: {shown}") };
    assert_eq!(sent.consumed, out.len(), "more than one head: {shown}");
    assert_eq!(sent.start, [expected.start[0].clone(), target.clone(), b"HTTP/1.1".to_vec()], "{shown}");
    assert_eq!((sent.body, sent.keep_alive), (expected.body, expected.keep_alive), "{shown}");
    assert_eq!(sent.place.0, expected.place.0.clone().or(Some(b"default".to_vec())), "{shown}");
    let mut kept = end_to_end(expected);
    if head.version() == Version::Http10 {
        kept.retain(|(name, _)| !name.eq_ignore_ascii_case(b"expect"));
    }
    assert_eq!(end_to_end(&sent), kept, "{shown}");
    let outcome = RequestHead::default().parse(&out, &HeadLimits::new(65535, 256, 8192).expect("within bounds"));
    assert_eq!(outcome, Ok(Progress::Complete { consumed: out.len() }), "{shown}");
}

/// Checks a response head, as the answer to a GET and to a HEAD.
pub(crate) fn response(input: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let context = ResponseContext { method, upgrade_requested: false };
        let limits = HeadLimits::default();
        let mut head = ResponseHead::default();
        let outcome = head.parse(input, &limits, &context);
        let mut trickled = ResponseHead::default();
        trickle(input, outcome, |prefix| trickled.parse(prefix, &limits, &context));
        let verdict = reference::response(input, method == Method::Head);
        if !agree(outcome, &verdict, input) {
            continue;
        }
        let Verdict::Taken(expected) = verdict else { continue };
        let version: &[u8] = if head.version() == Version::Http11 { b"HTTP/1.1" } else { b"HTTP/1.0" };
        assert_eq!(expected.start, [version.to_vec(), head.status().to_string().into(), head.reason().to_vec()]);
        assert_eq!(expected.fields, head.fields().map(owned).collect::<Vec<_>>());
        assert_eq!((expected.body, expected.keep_alive), (body(head.framing()), head.keep_alive()));
        for client in [Version::Http10, Version::Http11] {
            forwarded_response(&head, &expected, method, client);
        }
    }
}

/// Checks that a response is sent on as one head that says the same.
fn forwarded_response(head: &ResponseHead, expected: &Head, method: Method, client: Version) {
    let framing = head.framing().for_client(client);
    let keep_alive = head.keep_alive() && framing != Framing::UntilClose;
    let mut out = Vec::new();
    let interim = head.is_interim();
    if interim {
        assert_eq!(encode_interim(head, client, &mut out), client == Version::Http11);
        if client == Version::Http10 {
            return assert!(out.is_empty());
        }
    } else {
        let append = &[(FieldName::literal("X-Added"), FieldValue::literal("1"))];
        let forward = ResponseForward { framing, client, keep_alive, drop: Dropped::default(), append };
        encode_response(head, &forward, None, &mut out);
    }
    let shown = out.escape_ascii();
    let Verdict::Taken(sent) = reference::response(&out, method == Method::Head) else { panic!("not a head: {shown}") };
    assert_eq!(sent.consumed, out.len(), "more than one head: {shown}");
    assert_eq!(sent.start, [b"HTTP/1.1".to_vec(), expected.start[1].clone(), expected.start[2].clone()], "{shown}");
    assert_eq!(sent.body, body(framing), "{shown}");
    assert_eq!(sent.keep_alive, interim || keep_alive, "{shown}");
    assert_eq!(end_to_end(&sent), end_to_end(expected), "{shown}");
}

/// Decodes `input` fed in prefixes that end at `ends`. What was taken, if the body has ended.
fn decode(input: &[u8], ends: impl Iterator<Item = usize>) -> Result<Option<Chunks>, BodyError> {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut at, mut data) = (0, Vec::new());
    for end in ends {
        while at < end && !decoder.is_done() {
            let step = decoder.decode(&input[at..end])?;
            assert!(step.consumed > 0 && step.data.end <= step.consumed, "no progress");
            data.extend_from_slice(&input[at..end][step.data]);
            at += step.consumed;
            assert_eq!(step.done, decoder.is_done());
        }
    }
    assert_eq!(decoder.received(), data.len() as u64);
    let done = decoder.is_done();
    assert_eq!(decoder.end_of_input(), if done { Ok(()) } else { Err(BodyError::Truncated) });
    Ok(done.then(|| Chunks { consumed: at, data, trailers: decoder.trailers().as_bytes().to_vec() }))
}

/// Checks a chunked body.
pub(crate) fn chunked(input: &[u8]) {
    let whole = decode(input, std::iter::once(input.len()));
    assert_eq!(whole, decode(input, splits(input.len())), "split against whole: {}", input.escape_ascii());
    let half = [input.len() / 2, input.len()];
    assert_eq!(whole, decode(input, half.into_iter()), "halves against whole: {}", input.escape_ascii());
    match (&whole, reference::chunked(input)) {
        (Ok(Some(taken)), Verdict::Taken(expected)) if *taken == expected => encoded_chunks(taken),
        (Ok(None) | Err(_), Verdict::More) | (Err(_), Verdict::Refused) => {}
        (_, verdict) => panic!("{whole:?}, but the reference says {verdict:?}: {}", input.escape_ascii()),
    }
}

/// Checks that a body that is sent on is the same body, and nothing behind it.
fn encoded_chunks(taken: &Chunks) {
    let mut source = BodyDecoder::new(Framing::Chunked);
    let section = [b"0\r\n", &taken.trailers[..], b"\r\n"].concat();
    source.decode(&section).expect("kept trailers are well formed");
    let mut encoder = BodyEncoder::new(Framing::Chunked);
    let mut out = Vec::new();
    for piece in taken.data.chunks(7) {
        let wrap = encoder.wrap(piece.len()).expect("chunks have no announced length");
        out.extend([wrap.before.as_bytes(), piece, wrap.after].concat());
    }
    encoder.finish(source.trailers(), &mut out).expect("chunks have no announced length");
    let sent = Verdict::Taken(Chunks { consumed: out.len(), ..taken.clone() });
    assert_eq!(reference::chunked(&out), sent, "{}", out.escape_ascii());
}
