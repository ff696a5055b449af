//! The cookie that keeps a client at its target.

use std::rc::Rc;

use super::Stage;
use crate::http::fields::Known;
use crate::pipeline::exchange::Exchange;
use crate::upstream::balance::Target;

/// The target that the client's cookie names, if it may be used.
pub(super) fn preferred(stage: &Stage<'_>, x: &mut Exchange) -> Option<Rc<Target>> {
    x.affinity = None;
    let affinity = stage.service.settings.affinity.as_ref()?;
    let mut cookies = x.request.fields().filter(|field| field.known == Known::Cookie);
    let token = cookies.find_map(|field| affinity.read(field.value))?;
    x.affinity = Some(token);
    stage.backend.balancer.borrow_mut().by_token(stage.shard.handle.now(), token)
}

/// Writes the cookie that goes to the client with the answer of `target`, if it has not got it already.
pub(super) fn remember(stage: &Stage<'_>, target: &Target, x: &mut Exchange) {
    x.cookie.clear();
    let Some(affinity) = &stage.service.settings.affinity else { return };
    if let Some(token) = target.token()
        && x.affinity != Some(token)
    {
        affinity.write(token, &mut x.cookie);
    }
}
