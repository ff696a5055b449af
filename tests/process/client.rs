//! A client on a plain socket, which sees every byte.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::program::PATIENCE;

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// A response, its body without framing.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Ten thousand of these would hold buffers of their own.
        Ok(Client { stream: BufReader::with_capacity(512, stream) })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// What the socket gives from now on, through a buffer that suits large bodies.
    pub(crate) fn large_reader(&mut self) -> impl BufRead {
        let buffered = self.stream.buffer().to_vec();
        self.stream.consume(buffered.len());
        let socket = self.socket().try_clone().unwrap();
        std::io::Cursor::new(buffered).chain(BufReader::with_capacity(256 * 1024, socket))
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says that nothing more is sent.
    pub(crate) fn shutdown(&self) {
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Closes with a reset, so that the other side sees an error.
    pub(crate) fn reset(self) {
        let zero = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(self.socket(), zero).unwrap();
    }

    /// Asks for a path and takes the answer.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask(path);
        self.response()
    }

    /// Asks for a path.
    #[track_caller]
    pub(crate) fn ask(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    /// The next response, whole.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// The next response, whole.
    pub(crate) fn try_response(&mut self) -> std::io::Result<Response> {
        let head = self.head()?;
        let mut body = Vec::new();
        if let Some(length) = value(&head, "content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body)?;
        } else if value(&head, "transfer-encoding").is_some() {
            while self.chunk(&mut body)? > 0 {}
        }
        Ok(Response { status: status(&head), head, body })
    }

    /// The head of the next response.
    pub(crate) fn head(&mut self) -> std::io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::Error::other(format!("the connection ended in {head:?}")));
            }
        }
        Ok(head)
    }

    /// Appends the next chunk to `body` and says how long it was; trailers are dropped.
    pub(crate) fn chunk(&mut self, body: &mut Vec<u8>) -> std::io::Result<usize> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| std::io::Error::other("no chunk"))?;
        let start = body.len();
        body.resize(start + size, 0);
        self.stream.read_exact(&mut body[start..])?;
        while self.stream.read_line(&mut line)? > 2 {}
        Ok(size)
    }

    /// Whether the other side has ended the connection, and sent nothing before.
    #[track_caller]
    pub(crate) fn is_ended(&mut self) -> bool {
        match self.stream.read_exact(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => true,
            other => panic!("expected the end of the connection, got {other:?}"),
        }
    }
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The status in a head.
pub(crate) fn status(head: &str) -> u16 {
    head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// The value of a field in a head.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let field = |line: &'a str| line.split_once(':').filter(|(other, _)| other.eq_ignore_ascii_case(name));
    head.lines().find_map(field).map(|(_, value)| value.trim())
}
