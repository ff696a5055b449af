//! A request that may switch protocols, and the 101 that does (RFC 9110 section 7.8).
//!
//! What the backend is asked for is decided once, before the first attempt, and so is whether there is room for another
//! tunnel. Anything but a 101 is an ordinary response.

use std::io::IoSlice;

use super::Stage;
use super::attempt::{Answer, Failure, Progress, Rules, Sent};
use super::download::{Back, send_to_client};
use super::reply as reply_head;
use crate::http::fields::{FieldValue, Known};
use crate::http::h1::upgrade::put_upgrade;
use crate::http::message::Framing;
use crate::pipeline::tunnel::TunnelRules;
use crate::pipeline::{Exchange, Reject};
use crate::policy::upgrade::{Permit, answers};
use crate::shard::Shard;

/// What a request has that may switch.
pub(super) struct Switch {
    pub(super) rules: TunnelRules,
    pub(super) permit: Permit,
}

/// Finds out what the backend is to be asked for, and takes one of the route's tunnels for it.
///
/// While the worker drains, nothing is asked for: the tunnel would be cut in a moment.
pub(super) fn wanted(stage: &Stage<'_>, x: &mut Exchange) -> Result<Option<Switch>, Reject> {
    x.offer.clear();
    if stage.shard.is_draining() {
        return Ok(None);
    }
    let (Some(rules), Some(route)) = (stage.route.upgrade.offer(&x.request, &mut x.offer), x.route) else {
        return Ok(None);
    };
    let permit = rules.admit(stage.view.open_tunnels(route)).ok_or(Reject::TooManyTunnels)?;
    let rules = TunnelRules { idle: rules.idle, lifetime: rules.lifetime, stall: rules.stall };
    Ok(Some(Switch { rules, permit }))
}

/// Adds what is asked for to a request's head.
pub(super) fn ask(x: &mut Exchange) -> Result<(), Reject> {
    if !x.offer.is_empty() {
        // Made of tokens, so it can be written; if it could not, it must not be waited for.
        put_upgrade(FieldValue::new(&x.offer).ok_or(Reject::WrongUpgrade)?, &mut x.outgoing);
    }
    Ok(())
}

/// Sends a 101 on, if it is what was asked for.
pub(super) async fn grant(
    back: Back<'_>,
    reply: &mut Vec<u8>,
    shard: &Shard,
    rules: &Rules<'_>,
    progress: &Progress,
) -> Result<Answer, Failure> {
    // A backend that switches before it has the whole request does not know what it is asked.
    let whole = matches!(progress.sent.get(), Sent::Whole(_));
    let granted = back.head.get(Known::Upgrade).and_then(FieldValue::new);
    let granted = granted.filter(|_| whole && answers(back.head, rules.offer));
    let granted = granted.ok_or(Failure::Refused(Reject::WrongUpgrade))?;
    reply_head::encode(back.head, Framing::None, true, shard, rules, reply);
    put_upgrade(granted, reply);
    // What has come behind it waits for the tunnel.
    back.reader.park();
    progress.replying.set(true);
    progress.bytes_sent.set(reply.len() as u64);
    send_to_client(back.client.send(&[IoSlice::new(reply)]), rules).await?;
    Ok(Answer::Switched)
}
