//! Making an io_uring instance, and finding out whether it can do what we need.

use std::io;

use io_uring::{IoUring as Ring, Probe, opcode};

/// How large the two queues are.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sizes {
    pub(in super::super) submissions: u32,
    pub(in super::super) completions: u32,
}

/// Why there is no ring.
#[derive(Debug)]
pub(in super::super) enum Refusal {
    /// The kernel does not have something that we need.
    Missing(&'static str),
    /// A call failed.
    Failed { call: &'static str, error: io::Error },
}

/// Makes a ring with the flags that pay, without the one that needs Linux 6.6 where it is refused.
pub(super) fn build(sizes: Sizes) -> io::Result<Ring> {
    let attempt = |no_sqarray: bool| {
        let mut builder = Ring::builder();
        builder.setup_cqsize(sizes.completions).setup_clamp().setup_submit_all().dontfork();
        builder.setup_single_issuer().setup_defer_taskrun();
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(sizes.submissions)
    };
    attempt(true).or_else(|error| if error.raw_os_error() == Some(libc::EINVAL) { attempt(false) } else { Err(error) })
}

/// Whether the ring can do all that the driver asks of it.
pub(super) fn probe(ring: &Ring) -> Result<(), Refusal> {
    let needed = [
        (ring.params().is_feature_nodrop(), "completions that are never dropped"),
        (ring.params().is_feature_ext_arg(), "waits with a time limit"),
        (ring.params().is_feature_fast_poll(), "polled receives"),
    ];
    let mut probe = Probe::new();
    let error = |error| Refusal::Failed { call: "io_uring_register", error };
    ring.submitter().register_probe(&mut probe).map_err(error)?;
    let operations = [
        (opcode::Recv::CODE, "IORING_OP_RECV"),
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        // Came with the same version as what cannot be asked for: multishot
        // accept (5.19) and deferred task work (6.1, refused at creation).
        (opcode::SendZc::CODE, "the operations of Linux 6.0"),
    ];
    let operations = operations.map(|(code, what)| (probe.is_supported(code), what));
    match needed.into_iter().chain(operations).find(|(there, _)| !there) {
        Some((_, what)) => Err(Refusal::Missing(what)),
        None => Ok(()),
    }
}
