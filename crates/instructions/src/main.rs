//! Does one thing many times, for `cargo xtask instructions` to count what it costs: `instructions SUBJECT TIMES`.
//!
//! A package of its own, so that its release build needs nothing but the engine.

mod scanner;
mod session;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [subject, times] = &words[..] else { panic!("instructions SUBJECT TIMES") };
    // What it returns depends on all that is done, so that none of it is left out.
    std::hint::black_box(run(subject, times.parse().expect("a number of times")));
}

fn run(subject: &str, times: usize) -> usize {
    match subject {
        "requests" => scanner::requests(times),
        "replies" => scanner::replies(times),
        "request-16k" => scanner::large_request(times),
        "reply-16k" => scanner::large_reply(times),
        "session-get" => session::get(times),
        "session-pipeline" => session::pipeline(times),
        "session-set-16k" => session::set_large(times),
        _ => panic!("no subject {subject}"),
    }
}
