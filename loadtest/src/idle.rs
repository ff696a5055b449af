//! Connections that have been used once and then say nothing, as most do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take for one of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens so many connections, and has a request answered on each.
pub(crate) fn open(address: SocketAddr, connections: usize, path: &str) -> io::Result<Vec<TcpStream>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: loadtest\r\nAccept: */*\r\n\r\n");
    let mut buffer = vec![0; 64 * 1024];
    let opened = (0..connections).map(|number| {
        open_one(address, request.as_bytes(), &mut buffer)
            .map_err(|error| io::Error::new(error.kind(), format!("connection {number}: {error}")))
    });
    opened.collect()
}

fn open_one(address: SocketAddr, request: &[u8], buffer: &mut [u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut response = crate::load::response::Response::default();
    loop {
        let length = stream.read(buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match response.feed(&buffer[..length]) {
            Ok(None) => {}
            Ok(Some(outcome)) if outcome.status == 200 && !outcome.close => return Ok(stream),
            wrong => return Err(io::Error::other(format!("not an answer to keep a connection for: {wrong:?}"))),
        }
    }
}

/// How many of them the server has not closed.
pub(crate) fn still_open(streams: &[TcpStream]) -> io::Result<usize> {
    let mut open = 0;
    for stream in streams {
        stream.set_nonblocking(true)?;
        let idle = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        open += usize::from(idle);
    }
    Ok(open)
}
