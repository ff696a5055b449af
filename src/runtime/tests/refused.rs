//! io_uring that cannot be had: why, what would help, and epoll instead.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{SeccompAction, SeccompFilter, SeccompRule, apply_filter};

use super::*;

/// Makes the kernel answer io_uring_setup with `errno`, for this thread only.
fn forbid_io_uring(errno: i32) {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = [(libc::SYS_io_uring_setup, Vec::new())].into();
    let arch = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
    let program: seccompiler::BpfProgram = filter.expect("a filter").try_into().expect("a program");
    apply_filter(&program).expect("filters are there");
}

/// What `auto` says when it falls back; the runtime works, and `io_uring` fails with the same words.
fn fallback() -> Fallback {
    let options = |driver| Options { driver, ..Options::default() };
    let (runtime, fallback) = Runtime::new(&options(Choice::Auto)).expect("epoll at least");
    assert_eq!(runtime.driver_kind(), DriverKind::Epoll);
    runtime.block_on(async {
        let (near, far) = pair(runtime.handle()).await;
        send(&near, b"it works").await;
        assert_eq!(receive(&far, 8).await, b"it works");
    });
    let fallback = fallback.expect("a reason");
    let error: io::Error = Runtime::new(&options(Choice::IoUring)).expect_err("refused");
    assert_eq!(error.to_string(), fallback.to_string());
    say(&fallback.to_string());
    let (runtime, silent) = Runtime::new(&options(Choice::Epoll)).expect("epoll");
    assert!(runtime.driver_kind() == DriverKind::Epoll && silent.is_none(), "epoll was asked for");
    fallback
}

#[test]
fn a_profile_that_forbids_it_is_named() {
    alone(own_path!(a_profile_that_forbids_it_is_named), || {
        forbid_io_uring(libc::EPERM);
        let fallback = fallback();
        assert_eq!(fallback.reason, "io_uring_setup: Operation not permitted (os error 1)");
        assert!(fallback.remedy.contains("seccomp") || fallback.remedy.contains("sysctl"), "{}", fallback.remedy);
    });
}

#[test]
fn a_kernel_without_it_is_named() {
    alone(own_path!(a_kernel_without_it_is_named), || {
        forbid_io_uring(libc::ENOSYS);
        let fallback = fallback();
        assert_eq!(fallback.reason, "io_uring_setup: Function not implemented (os error 38)");
        assert!(fallback.remedy.contains("Linux 6.1"), "{}", fallback.remedy);
    });
}

/// This thread becomes the user `nobody`, and with that loses its capabilities.
fn become_nobody() {
    let nobody = 65534;
    // SAFETY: the numbers are valid, and only this thread's identity changes.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresgid, nobody, nobody, nobody) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) }, 0);
}

#[test]
fn too_little_locked_memory_is_named() {
    alone(own_path!(too_little_locked_memory_is_named), || {
        let bytes = 16 * 1024;
        setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) }).expect("lowered");
        // Root may lock without limit (CAP_IPC_LOCK), so it has to be another user.
        if is_root() {
            become_nobody();
        } else {
            say("not root: the test uses this user's own account of locked memory");
        }
        let fallback = fallback();
        assert!(fallback.reason.contains("Cannot allocate memory (os error 12)"), "{}", fallback.reason);
        assert!(fallback.remedy.contains("locked memory"), "{}", fallback.remedy);
    });
}

#[test]
fn enough_locked_memory_is_enough_for_another_user() {
    alone(own_path!(enough_locked_memory_is_enough_for_another_user), || {
        let bytes = 8 << 20;
        if setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) }).is_err() {
            return say("the limit on locked memory cannot be raised here, so nothing was tested");
        }
        if is_root() {
            become_nobody();
        }
        let (runtime, fallback) = Runtime::new(&Options::default()).expect("a driver");
        assert_eq!((runtime.driver_kind(), fallback), (DriverKind::IoUring, None));
    });
}
