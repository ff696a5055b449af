//! Targets that come, go, fail and recover, on real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::*;
use crate::upstream::endpoint::EndpointSpec;
use crate::upstream::health::HealthConfig;
use crate::upstream::members::Members;

/// A server whose health can be changed; it ends when it is dropped.
struct Server {
    address: SocketAddr,
    is_well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Server {
    async fn start(is_well: bool) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_well, asked) = (Arc::new(AtomicBool::new(is_well)), Arc::new(AtomicUsize::new(0)));
        let state = (is_well.clone(), asked.clone());
        let serve = async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1000]).await;
                let status = if state.0.load(Ordering::Relaxed) { "200 OK" } else { "503 Busy" };
                state.1.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
            }
        };
        Server { address, is_well, asked, task: tokio::spawn(serve).abort_handle() }
    }

    fn spec(&self) -> EndpointSpec {
        EndpointSpec { address: self.address.into(), authority: self.address.to_string().into(), weight: 1 }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A service that is watched.
struct Watched {
    service: Arc<Service>,
    _task: JoinSet<()>,
}

impl Watched {
    fn start(interval: Duration) -> Watched {
        let config = HealthConfig { path: Some("/".to_owned()), interval, ..HealthConfig::default() };
        let config = HealthConfig { timeout: Some(Duration::from_secs(5)), ..config };
        let checks = Checks::compile(&config);
        let service = Arc::new(Service::new(Arc::new(Members::new("users", 1))));
        service.configure(&[], Some(&checks));
        let mut task = JoinSet::new();
        task.spawn(watch(service.clone(), Arc::new(checks), Arc::new(Crowd::new(Arc::default()))));
        Watched { service, _task: task }
    }

    fn update(&self, servers: &[&Server]) {
        self.service.members.update(servers.iter().map(|server| server.spec()).collect(), Instant::from_clock());
        self.service.changed.notify_one();
    }

    fn health(&self) -> Vec<Health> {
        self.service.members.endpoints().iter().map(|endpoint| endpoint.health()).collect()
    }
}

/// Waits until `condition` holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Moment::now() + Duration::from_secs(10);
    let mut look = tokio::time::interval(Duration::from_millis(1));
    while !condition() {
        assert!(Moment::now() < deadline, "waited in vain: {what}");
        look.tick().await;
    }
}

const SOON: Duration = Duration::from_millis(10);

#[tokio::test]
async fn a_target_goes_down_and_comes_back_and_every_change_is_news_to_workers() {
    let (good, bad) = (Server::start(true).await, Server::start(false).await);
    let watched = Watched::start(SOON);
    watched.update(&[&good, &bad]);
    eventually("the first checks", || watched.health() == [Health::Up, Health::Down]).await;
    let version = watched.service.members.version();
    let result = watched.service.results()[&bad.address.into()].clone();
    assert_eq!((result.status, result.error.is_some()), (Some(503), true));
    good.is_well.store(false, Ordering::Relaxed);
    bad.is_well.store(true, Ordering::Relaxed);
    eventually("both change", || watched.health() == [Health::Down, Health::Up]).await;
    assert_eq!(watched.service.members.version(), version + 2);
    eventually("its result is there", || watched.service.results()[&bad.address.into()].error.is_none()).await;
    let [passed, failed, transitions] = watched.service.counts();
    assert!(passed >= 3 && failed >= 4, "{passed} {failed}");
    assert_eq!(transitions, 4);
}

#[tokio::test]
async fn what_is_known_of_a_target_survives_a_change_of_the_list() {
    let (first, second) = (Server::start(false).await, Server::start(true).await);
    let watched = Watched::start(SOON);
    watched.update(&[&first]);
    eventually("the first is down", || watched.health() == [Health::Down]).await;
    watched.update(&[&second, &first]);
    eventually("the second is checked", || watched.health() == [Health::Up, Health::Down]).await;
    let [.., transitions] = watched.service.counts();
    assert_eq!(transitions, 2, "the first is checked on as it was");
    // One that has gone is asked no more, and its result is gone.
    watched.update(&[&second]);
    eventually("its result is gone", || !watched.service.results().contains_key(&first.address.into())).await;
    let (asked, others) = (first.asked(), second.asked());
    eventually("the other is asked on", || second.asked() > others + 5).await;
    // One check may have been on its way.
    assert!(first.asked() <= asked + 1);
    assert!(!watched.service.results().contains_key(&first.address.into()));
    watched.update(&[]);
    eventually("all results are gone", || watched.service.results().is_empty()).await;
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other() {
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let good = Server::start(true).await;
    let watched = Watched::start(SOON);
    let address = hung.local_addr().unwrap();
    let spec = EndpointSpec { address: address.into(), authority: "hung".into(), weight: 1 };
    watched.service.members.update(vec![spec, good.spec()], Instant::from_clock());
    watched.service.changed.notify_one();
    eventually("the good one is asked again and again", || good.asked() > 10).await;
    assert_eq!(watched.health(), [Health::Unknown, Health::Up]);
}

#[tokio::test]
async fn first_checks_are_spread_out_within_an_interval() {
    let crowd = Crowd::new(Arc::default());
    let interval = Duration::from_secs(1);
    let begin = Moment::now();
    let turns: Vec<Moment> = (0..1000).map(|_| crowd.turn(interval)).collect();
    assert!(turns[0] <= Moment::now());
    assert!(turns.windows(2).take(100).all(|pair| pair[1] - pair[0] == SPACING));
    assert!(turns.iter().all(|turn| *turn <= Moment::now() + interval));
    let halves = turns.iter().filter(|turn| **turn < begin + interval / 2).count();
    assert!((300..700).contains(&halves), "{halves} of 1000 in the first half");
}
