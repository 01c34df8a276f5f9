//! What is sent without anybody looking at its reply: only under a lease, when it cannot be rejected.

/// Waits until the server is known to be open, and for a while yet, and tells until when. The expressions say how to wait
/// for a [`Call`] and how to send PING.
///
/// [`Call`]: super::call::Call
macro_rules! wait_for_lease {
    ($door:expr, |$call:ident| next: $next:expr, ping: $ping:expr) => {
        loop {
            let lease_end = if $door.policy.holds_any() { $door.gate.free_until() } else { Time::NEVER };
            if now() < lease_end {
                break Ok(lease_end);
            }
            let mut $call = Call::new($door, Command::read(b"PING\r\n"));
            let mut sent_last = Time::ZERO;
            let reply: RedisResult<Value> = drive_call!(
                $call,
                first: None,
                next: $next,
                send: {
                    sent_last = now();
                    $ping
                },
                ping: $ping
            );
            let lease_end = sent_last + $door.gate.lease_width();
            match reply.and_then(Value::extract_error) {
                Err(error) => break Err(error),
                Ok(_) if now() < lease_end => break Ok(lease_end),
                Ok(_) => {}
            }
        }
    };
}
pub(crate) use wait_for_lease;
