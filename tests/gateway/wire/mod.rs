//! The wire tables: malformed and ambiguous messages as exact bytes, and what
//! becomes of them.
//!
//! A row is what a client sends, what the backend answers, what the client
//! then sees, and which bytes reached the backend. Behind each request goes a
//! canary, pipelined on the same connection, and after each row a request on
//! another connection that gets whatever the row may have left in the pool.
//! Both are recognised on all sides, so a smuggled message has nowhere to hide.
//!
//! The same rows run on real sockets with both kernel drivers (`kernel`), and
//! on the in-memory network, cut at many places, in small pieces and with
//! delays (`memory`): the outcome must be the same.
//!
//! What is written short in a row:
//!
//! | text | what it stands for |
//! |---|---|
//! | `<ok>` | the whole response to which the gateway turns [`OK`]; with `, close` one that ends the connection, with `, 1.0` one to a response of HTTP/1.0 |
//! | `<canary>` | the whole response to the canary |
//! | `<400 code>` | the whole refusal, byte by byte, with `Connection: close`; with `, kept` one without |
//! | `<reset>` | the connection ended with a reset |
//! | `{id}`, `{for HOST}` | a request id; the fields that the gateway adds, with `, 1.0` to a request of HTTP/1.0 |
//! | `{canary}` | the canary as it reaches the backend |
//! | `~` | the message was cut somewhere from here on; of what is written behind, a beginning arrived |
//! | ` \| ` | between the connections of the backend |

mod bodies;
mod fields;
mod framing;
mod heads;
mod kernel;
mod memory;
mod outcome;
mod response_bodies;
mod responses;
mod targets;

/// What the backend answers where a row is about requests.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What follows every request of a row.
pub(crate) const CANARY: &str = "GET /canary HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n";

/// What takes from the pool what a row has left there.
pub(crate) const FLUSH: &str = "GET /flush HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n";

/// What the backend answers to both.
pub(crate) const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary";

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What it is about.
    pub(crate) name: String,
    /// What the client sends, without the canary.
    pub(crate) send: Vec<u8>,
    /// Whether the client ends its side behind that.
    pub(crate) finish: bool,
    /// What the backend answers to everything but the canary.
    pub(crate) reply: Vec<u8>,
    /// What it does then.
    pub(crate) after: After,
    /// What the client sees.
    pub(crate) answer: String,
    /// What reaches the backend.
    pub(crate) reached: String,
}

/// What a backend does behind its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Waits for the next request.
    Stay,
    /// Ends its side.
    Close,
    /// Resets the connection.
    Reset,
}

impl Row {
    /// A row about a request.
    fn request(
        name: impl Into<String>,
        send: impl AsRef<[u8]>,
        answer: impl Into<String>,
        reached: impl Into<String>,
    ) -> Row {
        Row {
            name: name.into(),
            send: send.as_ref().to_vec(),
            finish: true,
            reply: OK.into(),
            after: After::Stay,
            answer: answer.into(),
            reached: reached.into(),
        }
    }

    /// A row about a response, to a request that is as plain as can be.
    fn response(name: &str, reply: impl AsRef<[u8]>, after: After, answer: &str, reached: &str) -> Row {
        Row {
            name: name.into(),
            send: b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            finish: false,
            reply: reply.as_ref().to_vec(),
            after,
            answer: answer.into(),
            reached: reached.into(),
        }
    }

    /// Everything that the client sends.
    pub(crate) fn sent(&self) -> Vec<u8> {
        [&self.send, CANARY.as_bytes()].concat()
    }
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let tables = [
        framing::rows(),
        bodies::rows(),
        heads::rows(),
        fields::rows(),
        targets::rows(),
        responses::rows(),
        response_bodies::rows(),
    ];
    tables.concat()
}

#[test]
fn the_table_is_as_long_as_promised() {
    let rows = rows();
    let responses = rows.iter().filter(|row| !row.finish).count();
    assert!(rows.len() - responses >= 400 && responses >= 150, "{} rows, {responses} of responses", rows.len());
    let mut names: Vec<_> = rows.iter().map(|row| &row.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "two rows with one name");
}
