//! The cookie that keeps a client at its target.

use std::rc::Rc;

use super::Stage;
use crate::http::fields::Known;
use crate::pipeline::exchange::Exchange;
use crate::upstream::balance::Target;

/// The target that the client's cookie names, if it may be used.
pub(super) fn preferred(stage: &Stage<'_>, x: &mut Exchange) -> Option<Rc<Target>> {
    x.affinity = false;
    let affinity = stage.service.settings.affinity.as_ref()?;
    let mut cookies = x.request.fields().filter(|field| field.known == Known::Cookie);
    let token = cookies.find_map(|field| affinity.read(field.value))?;
    let target = stage.backend.balancer.borrow_mut().by_token(stage.shard.handle.now(), token);
    x.affinity = target.is_some();
    target
}

/// Writes the cookie that goes to the client with the answer of `target`, unless the client has one of a target that may
/// be used. If that one could not take this request, it takes the next.
pub(super) fn remember(stage: &Stage<'_>, target: &Target, x: &mut Exchange) {
    x.cookie.clear();
    let Some(affinity) = &stage.service.settings.affinity else { return };
    if let Some(token) = target.token().filter(|_| !x.affinity) {
        affinity.write(token, &mut x.cookie);
    }
}
