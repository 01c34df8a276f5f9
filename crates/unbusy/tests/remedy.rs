//! The well-known home remedy, which catches BUSY, sleeps for 2 s and tries again for up to 120 s, as a policy: for those who
//! want that behaviour and no other.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{client, make_busy};
use redis::Commands;
use testkit::{Flavor, Server};
use unbusy::{Event, Policy};

const INTERVAL: Duration = Duration::from_secs(2);

/// The recipe of the guide.
fn remedy(notice: impl Fn(&str) + Send + Sync + 'static) -> Policy {
    Policy::default().max_wait(Duration::from_secs(120)).intervals(INTERVAL, INTERVAL).on_event(
        move |server, event| {
            if let Event::EpisodeBegan { .. } = event {
                notice(&format!("{server} is busy; trying again every 2 s, for 120 s at most"));
            }
        },
    )
}

#[test]
fn it_polls_every_two_seconds_with_one_notice() {
    thread::scope(|scope| {
        for flavor in Flavor::ALL {
            scope.spawn(move || {
                let server = Server::start(flavor);
                let notices = Arc::new(AtomicUsize::new(0));
                let counter = Arc::clone(&notices);
                let policy = remedy(move |_| {
                    counter.fetch_add(1, Relaxed);
                });
                let client = client(&server).with_policy(&policy);
                let mut connection = client.get_connection().unwrap();
                let script = make_busy(&server, 5_000);
                // Asking whether it is busy was rejected once.
                let start = Instant::now();
                assert_eq!(connection.incr::<_, _, u64>("n", 1).unwrap(), 1);
                let waited = start.elapsed();
                let (_, end) = script.join();
                assert!(end.elapsed() <= INTERVAL + Duration::from_millis(500), "{flavor}: {waited:?}");
                let polls = server.rejections() - 1;
                assert!((2..=3).contains(&polls), "{flavor}: {polls} polls in {waited:?}");
                assert_eq!(notices.load(Relaxed), 1, "{flavor}");
            });
        }
    });
}

#[test]
fn other_errors_come_at_once_and_zero_switches_it_off() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let client = client(&server).with_policy(&remedy(|_| ()));
        let mut connection = client.get_connection().unwrap();
        let start = Instant::now();
        connection.set::<_, _, ()>("k", "no number").unwrap();
        assert!(connection.incr::<_, _, u64>("k", 1).is_err());
        assert!(start.elapsed() < INTERVAL);
        let off = client.with_policy(&remedy(|_| ()).max_wait(Duration::ZERO));
        let script = make_busy(&server, 400);
        let error = off.get_connection().unwrap().incr::<_, _, u64>("n", 1).unwrap_err();
        assert_eq!(error.code(), Some("BUSY"), "{flavor}: the server's own error");
        script.join();
    }
}

#[test]
fn the_last_error_is_returned_when_the_time_is_over() {
    let server = Server::start(Flavor::Redis70);
    let policy = remedy(|_| ()).max_wait(Duration::from_secs(3));
    let mut connection = client(&server).with_policy(&policy).get_connection().unwrap();
    let script = make_busy(&server, 5_000);
    let start = Instant::now();
    let error = connection.incr::<_, _, u64>("n", 1).unwrap_err();
    let waited = start.elapsed();
    assert_eq!(error.code(), Some("BUSY"));
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_millis(3_500), "{waited:?}");
    script.join();
}
