//! The least proxy that Pingora makes, for the comparison with peers.
//!
//! `pingora-peer LISTEN BACKEND`: one worker thread, one backend, keep-alive on
//! both sides, and the forwarding fields that the other contenders set. The
//! allocator is the system's, as in Pingora's own examples.

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use std::error::Error;

struct Relay {
    backend: String,
}

#[async_trait]
impl ProxyHttp for Relay {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _context: &mut (),
    ) -> Result<()> {
        if let Some(address) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("X-Forwarded-For", address.ip().to_string())?;
        }
        request.insert_header("X-Forwarded-Proto", "http")
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(backend)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pingora-peer LISTEN BACKEND, both as ADDRESS:PORT".into());
    };
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 1024,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Relay { backend });
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run_forever()
}
