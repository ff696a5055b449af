//! Chunked bodies as tables of exact bytes.

use super::*;

type Taken = (String, String, usize);

/// Decodes `input` in pieces of `size`: data, trailers and how many bytes were used, if the body has ended.
fn decode_in(input: &[u8], size: usize) -> Result<Option<Taken>, BodyError> {
    let (mut decoder, mut trailers) = (ChunkedDecoder::default(), Trailers::default());
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in input.chunks(size) {
        let mut at = 0;
        while at < piece.len() && !decoder.is_done() {
            let step = decoder.decode(&piece[at..], &mut trailers)?;
            data.extend_from_slice(&piece[at..][step.data]);
            at += step.consumed;
        }
        used += at;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(decoder.is_done().then(|| (text(&data), text(trailers.as_bytes()), used)))
}

/// Decodes `input` in pieces of every size, all of which must agree.
fn decode(input: &[u8]) -> Result<Option<Taken>, BodyError> {
    let whole = decode_in(input, input.len().max(1));
    for size in 1..input.len().min(64) {
        assert_eq!(decode_in(input, size), whole, "{} in pieces of {size}", input.escape_ascii());
    }
    whole
}

#[test]
fn well_formed_bodies() {
    for (body, data, trailers) in [
        ("0\r\n\r\n", "", ""),
        ("000\r\n\r\n", "", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""),
        ("5;x\r\nhello\r\n0;y=\"a;b\"\r\n\r\n", "hello", ""),
        ("5;\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
        ("7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", "0\r\n\r\nGE", ""),
        ("0\r\nX-Sum: 1\r\n\r\n", "", "X-Sum: 1\r\n"),
        ("0\r\nX-Sum:1 \r\nx_b:\t\r\n\r\n", "", "X-Sum: 1\r\nx_b: \r\n"),
        ("0\r\nSet-Cookie: a\r\nX: 1\r\nX-Forwarded-Y: z\r\nAuthorization: b\r\n\r\n", "", "X: 1\r\n"),
    ] {
        let input = format!("{body}GET / HTTP/1.1\r\n\r\n");
        let expected = (data.to_owned(), trailers.to_owned(), body.len());
        assert_eq!(decode(input.as_bytes()), Ok(Some(expected)), "{}", body.escape_debug());
    }
}

#[test]
fn malformed_size_lines() {
    for line in [
        "\r\n",
        ";a\r\n",
        " 5\r\n",
        "5 \r\n",
        "5\t\r\n",
        "5 ;a\r\n",
        "+5\r\n",
        "-5\r\n",
        "0x5\r\n",
        "x\r\n",
        "5h\r\n",
        "5\n",
        "\n5\r\n",
        "\r\n5\r\n",
        "5,5\r\n",
        "5.\r\n",
        "\0",
        "5\0\r\n",
        "\u{ff15}\r\n",
        "5_0\r\n",
    ] {
        assert_eq!(decode(line.as_bytes()), Err(BodyError::ChunkSize), "{}", line.escape_debug());
    }
    for line in ["5\rhello", "5\r\r\n", "5;a\nhello", "5;a\rb\r\n", "5;\0\r\n", "5;a\x01\r\n", "5;\x7f\r\n"] {
        assert_eq!(decode(line.as_bytes()), Err(BodyError::ChunkLine), "{}", line.escape_debug());
    }
}

#[test]
fn sizes_are_bounded() {
    for line in ["00000000000000005\r\n", "10000000000000000\r\n", "ffffffffffffffff\r\n", "4000000000000001\r\n"] {
        assert_eq!(decode(line.as_bytes()), Err(BodyError::ChunkSizeTooLarge), "{line}");
    }
    assert_eq!(decode(b"4000000000000000\r\nhello"), Ok(None));
}

#[test]
fn data_is_followed_by_crlf() {
    for body in ["1\r\nab\r\n", "1\r\na\n0\r\n\r\n", "1\r\na\r0", "1\r\na0\r\n\r\n", "1\r\na\n\r0\r\n"] {
        assert_eq!(decode(body.as_bytes()), Err(BodyError::ChunkEnd), "{}", body.escape_debug());
    }
}

#[test]
fn malformed_and_forbidden_trailers() {
    for line in [
        "X\r\n",
        " X: y\r\n",
        "X : y\r\n",
        ": y\r\n",
        "X: y\n",
        "X: a\rb\r\n",
        "X: a\0\r\n",
        "X.Y: z\r\n",
        "X: y\r\n z\r\n",
        "Content_Length: 5\r\n",
        "\n",
        "\rx",
        "X: \x7f\r\n",
    ] {
        assert_eq!(decode(format!("0\r\n{line}").as_bytes()), Err(BodyError::Trailer), "{}", line.escape_debug());
    }
    for name in ["Content-Length", "transfer-encoding", "HOST", "Connection", "TE", "Trailer", "Upgrade", "Keep-Alive"]
    {
        let body = format!("0\r\n{name}: 5\r\n\r\n");
        assert_eq!(decode(body.as_bytes()), Err(BodyError::ForbiddenTrailer), "{name}");
    }
    let large = format!("0\r\nX: {}\r\n\r\n", "y".repeat(MAX_TRAILER_BYTES - 4));
    assert_eq!(decode_in(large.as_bytes(), 100), Err(BodyError::TrailersTooLarge));
    let fits = format!("0\r\nX: {}\r\n\r\n", "y".repeat(MAX_TRAILER_BYTES - 5));
    assert!(matches!(decode_in(fits.as_bytes(), 100), Ok(Some(_))));
    let many = "X: y\r\n".repeat(MAX_TRAILER_FIELDS + 1);
    assert_eq!(decode_in(format!("0\r\n{many}\r\n").as_bytes(), 100), Err(BodyError::TrailersTooLarge));
}

#[test]
fn extensions_are_bounded_on_a_line_and_in_all() {
    let body = |extension: usize, data: &str, count: usize| {
        let line = format!("{:x};{}\r\n{data}\r\n", data.len(), "e".repeat(extension));
        format!("{}0\r\n\r\n", line.repeat(count))
    };
    assert!(matches!(decode_in(body(252, "a", 1).as_bytes(), 999), Ok(Some(_))));
    assert_eq!(decode_in(body(253, "a", 1).as_bytes(), 999), Err(BodyError::ChunkLineTooLong));
    assert!(matches!(decode_in(body(200, "a", 80).as_bytes(), 999), Ok(Some(_))));
    assert_eq!(decode_in(body(200, "a", 100).as_bytes(), 999), Err(BodyError::ChunkOverhead));
    // Small chunks without extensions, and large ones with, go on for ever.
    assert!(matches!(decode_in(body(12, "a", 10_000).as_bytes(), 999), Ok(Some(_))));
    assert!(matches!(decode_in(body(200, &"a".repeat(200), 1000).as_bytes(), 999), Ok(Some(_))));
}

#[test]
fn storage_is_recycled() {
    let mut trailers = Trailers::default();
    ChunkedDecoder::default().decode(b"0\r\nX: 1\r\n\r\n", &mut trailers).unwrap();
    let storage = trailers.as_bytes().as_ptr();
    trailers.clear();
    assert!(trailers.as_bytes().is_empty());
    ChunkedDecoder::default().decode(b"0\r\nY: 2\r\n\r\n", &mut trailers).unwrap();
    assert_eq!((trailers.as_bytes(), trailers.as_bytes().as_ptr()), (&b"Y: 2\r\n"[..], storage));
}
